"""The file of a sweep: what varies, over which seeds, for how long, and what is measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from jepa.core.errors import ConfigError, Fault, one_of
from jepa.core.settings import FieldError, Part, ProtocolPart, positive, show, structure
from jepa.core.yamlfile import config_path, read_file, shipped_names

_SWEEPS = "ablations/"
"""Where shipped sweeps stand among shipped configs: none of them is a base."""


def _lists_of_values(_: Any, attribute: Any, value: Any) -> None:
    """Dotted keys, each with one value or more."""
    if not isinstance(value, Mapping) or not value:
        raise FieldError(
            attribute.name, f"found {show(value)}, allowed: dotted keys, each with a list of values"
        )
    faults = [
        Fault(str(key), f"found {show(values)}, allowed: a list of one or more values")
        for key, values in value.items()
        if not isinstance(values, list | tuple) or not values
    ]
    faults += [
        Fault(show(key), "allowed: text, such as optim.lr")
        for key in value
        if not isinstance(key, str)
    ]
    if faults:
        raise ConfigError(faults)


def _each_once(_: Any, attribute: Any, value: Any) -> None:
    """One value or more, none twice."""
    if value is None:
        return
    if not value:
        raise FieldError(attribute.name, "found none, allowed: one or more")
    names = [each.name if isinstance(each, Part) else each for each in value]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise FieldError(attribute.name, f"found {show(twice[0])} twice, allowed: each once")


def _seeds(_: Any, attribute: Any, value: Any) -> None:
    """As `train.seed` takes them."""
    wrong = [seed for seed in value if not 0 <= seed < 2**63]
    if wrong:
        raise FieldError(attribute.name, f"found {wrong[0]}, allowed: 0 or more, below 2^63")


def _knn_and_linear() -> tuple[Part, ...]:
    return tuple(structure({"name": name}, ProtocolPart) for name in ("knn", "linear"))


@attrs.frozen(kw_only=True)
class BudgetConfig:
    """How long each run trains: the same for all, in samples or in steps."""

    samples: int | None = attrs.field(default=None, validator=positive)
    """Steps are samples // `train.global_batch` of the run."""
    steps: int | None = attrs.field(default=None, validator=positive)

    def __attrs_post_init__(self) -> None:
        if (self.samples is None) == (self.steps is None):
            found = "both" if self.samples else "neither"
            raise ConfigError(f"found {found}, allowed: samples or steps")


@attrs.frozen(kw_only=True)
class EvaluateConfig:
    """Samples to measure on, as `jepa eval` takes them."""

    train: str | None = None
    """SOURCE to fit on; None: the train split of the run's own."""
    test: str | None = None
    """SOURCE to score on; None: the test split of the run's own."""
    train_samples: int = attrs.field(default=10000, validator=positive)
    """At most so many."""
    test_samples: int = attrs.field(default=2000, validator=positive)


@attrs.frozen(kw_only=True)
class AblationConfig:
    """Everything that determines a sweep."""

    base: str
    """Config of every run: a path from here or from the sweep's file, or a shipped name."""
    overrides: tuple[str, ...] = ()
    """`key=value` texts for every run."""
    vary: Any = attrs.field(validator=_lists_of_values)
    """Dotted key -> list of values, each set as `key=value` would."""
    combine: Literal["grid", "paired"] = "grid"
    """grid: every combination, the last key fastest; paired: the lists go in step."""
    labels: tuple[str, ...] | None = attrs.field(default=None, validator=_each_once)
    """Names of the variants, in their order; None: made of the values."""
    reference: str | None = None
    """Label of the variant that others are compared with; None: the first."""
    seeds: tuple[int, ...] = attrs.field(default=(0,), validator=[_each_once, _seeds])
    """`train.seed` of the runs of each variant."""
    budget: BudgetConfig
    measure: tuple[ProtocolPart, ...] = attrs.field(factory=_knn_and_linear, validator=_each_once)
    """Protocols, as `jepa eval` knows them."""
    evaluate: EvaluateConfig = attrs.field(factory=EvaluateConfig)
    parallel: int = attrs.field(default=1, validator=positive)
    """Runs at a time."""
    nproc: int | None = attrs.field(default=None, validator=positive)
    """Processes of a run, as `jepa train --nproc`."""

    def __attrs_post_init__(self) -> None:
        lengths = {key: len(values) for key, values in self.vary.items()}
        if self.combine == "paired" and len(set(lengths.values())) > 1:
            told = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            raise FieldError("vary", f"{told}; allowed with combine: paired: lists of one length")


def find_base(base: str, *beside: Path) -> str:
    """The base as `jepa train --config` takes it.

    Args:
        base: a path, or a shipped name.
        beside: folders in which a path is looked for too.

    Raises:
        ConfigError: there is none.
    """
    for folder in (Path(), *beside):
        if (folder / base).is_file():
            return str(folder / base)
    try:
        if not base.startswith(_SWEEPS):
            config_path(base)
            return base
    except ConfigError:  # it names all that is shipped, and knows one of the places alone
        pass
    places = ", ".join(dict.fromkeys(str(folder.absolute()) for folder in (Path(), *beside)))
    names = [name for name in shipped_names() if not name.startswith(_SWEEPS)]
    told = f"no such file in {places}, and no shipped config: {one_of(base, names)}"
    raise ConfigError(Fault("base", told))


def load_ablation(file: str) -> AblationConfig:
    """The settings of a sweep from a file: a path or a shipped name (`ablations/masks`).

    Raises:
        ConfigError: with every fault at once.
    """
    raw, where = read_file(file)
    config = structure(raw, AblationConfig, where)
    try:
        return attrs.evolve(config, base=find_base(config.base, Path(where).parent))
    except ConfigError as error:
        raise ConfigError(error.faults, where) from error
