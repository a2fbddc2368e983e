"""The variants of a sweep: which values each has, what it is called, and its folder's name."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import attrs

from jepa.ablation.settings import AblationConfig
from jepa.core.config import RunConfig, flatten
from jepa.core.errors import Fault
from jepa.core.settings import Part, show

_LONGEST = 60


@attrs.frozen
class Variant:
    """One row of the table: a label, and dotted key -> value of what varies."""

    label: str
    settings: Mapping[str, Any]


@attrs.frozen
class Draft:
    """A variant whose config was not looked at yet.

    Args:
        variant: itself.
        places: dotted key -> place of the value in the key's list, for messages.
    """

    variant: Variant
    places: Mapping[str, int]

    @property
    def texts(self) -> tuple[str, ...]:
        """Its values as `key=value`."""
        return tuple(override(key, value) for key, value in self.variant.settings.items())


def override(key: str, value: Any) -> str:
    """`key=value` with the value as JSON, which is YAML. A date is text."""
    return f"{key}={json.dumps(value, default=str)}"


def draft(config: AblationConfig) -> tuple[list[Draft], list[Fault]]:
    """Every variant in its order, and what is wrong with the labels."""
    lists = [range(len(values)) for values in config.vary.values()]
    combine = zip if config.combine == "paired" else itertools.product
    combinations = [dict(zip(config.vary, places, strict=True)) for places in combine(*lists)]
    labels, faults = _labels(config, combinations)
    drafts = [
        Draft(Variant(label, {key: config.vary[key][at] for key, at in places.items()}), places)
        for label, places in zip(labels, combinations, strict=True)
    ]
    if config.reference is not None and config.reference not in labels:
        allowed = "; ".join(labels)
        faults.append(Fault("reference", f"found {show(config.reference)}, allowed: {allowed}"))
    return drafts, faults


def slugs(labels: Sequence[str]) -> list[str]:
    """A folder's name for each label: letters, digits, - and _; none twice, in any case.

    Letters may be of any script. NFC is one way to write each: some file systems know no other.
    """
    plain = [unicodedata.normalize("NFC", label) for label in labels]
    bare = [re.sub(r"[^\w-]+", "-", label)[:_LONGEST].strip("-") or "variant" for label in plain]
    return _unlike(bare, "-")


def _labels(
    config: AblationConfig, combinations: Sequence[Mapping[str, int]]
) -> tuple[list[str], list[Fault]]:
    names = {key: _value_names(key, values, config.vary) for key, values in config.vary.items()}
    made = [", ".join(names[key][at] for key, at in places.items()) for places in combinations]
    made = _unlike([label[:_LONGEST].strip() or "variant" for label in made], " #")
    if config.labels is None:
        return made, []
    faults = [
        Fault(f"labels.{place}", "found an empty text, allowed: a name")
        for place, label in enumerate(config.labels)
        if not label.strip()
    ]
    if len(config.labels) != len(made):
        told = f"found {len(config.labels)}, allowed: one for each of {len(made)} variants"
        faults.append(Fault("labels", f"{told}: {'; '.join(made)}"))
    return (made, faults) if faults else (list(config.labels), [])


def _value_names(key: str, values: Sequence[Any], vary: Mapping[str, Any]) -> list[str]:
    """What each value of a key is called.

    A part is called by its name, and by the settings that tell it from others of that name.
    """
    if _is_of_a_part(key):
        values = [{"name": value} if isinstance(value, str) else value for value in values]
    kinds = [value.get("name") if isinstance(value, Mapping) else None for value in values]
    names = []
    for value, kind in zip(values, kinds, strict=True):
        if not isinstance(value, Mapping):
            names.append(f"{_short(key, vary)} {_text(value)}")
            continue
        alike = [flatten(v) for v, k in zip(values, kinds, strict=True) if v != value and k == kind]
        own = {
            name: item
            for name, item in flatten(value).items()
            if name != "name" and any(other.get(name, ...) != item for other in alike)
        }
        told = [f"{name}={_text(item)}" for name, item in own.items()]
        names.append(" ".join(filter(None, [str(kind or ""), *told])) or _short(key, vary))
    return names


def _is_of_a_part(key: str) -> bool:
    """Whether a dotted key of a run's config stands for a part: `masks.0`, `model.target`."""
    found: Any = RunConfig
    for step in key.split("."):
        if get_origin(found) is tuple:
            found = get_args(found)[0]
        elif isinstance(found, type) and attrs.has(found):
            found = get_type_hints(found, include_extras=True).get(step)
        else:
            return False
    return get_origin(found) is Annotated and get_args(found)[0] is Part


def _short(key: str, vary: Mapping[str, Any]) -> str:
    """The end of a dotted key: as much of it as no other key ends in."""
    steps = key.split(".")
    for count in range(1, len(steps)):
        end = ".".join(steps[-count:])
        alike = [other for other in vary if other == end or other.endswith(f".{end}")]
        if len(alike) == 1 and not end[0].isdecimal():
            return end
    return key


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return "-".join(map(_text, value))
    return show(value)


def _unlike(texts: Sequence[str], before_number: str) -> list[str]:
    """The texts, those that repeat (whatever their case) with numbers behind them."""
    seen: Counter[str] = Counter()
    made: list[str] = []
    taken: set[str] = set()
    for text in texts:
        unlike = text
        while unlike.lower() in taken:
            seen[text.lower()] += 1
            unlike = f"{text}{before_number}{seen[text.lower()] + 1}"
        taken.add(unlike.lower())
        made.append(unlike)
    return made
