"""Plain settings in layers: defaults, the file, `key=value` overrides; and how two differ."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jepa.core.errors import ConfigError, Fault
from jepa.core.validators import show
from jepa.core.yamlfile import parse_yaml


def merge(under: Any, over: Any) -> Any:
    """Layer `over` on `under`. Mappings merge; everything else, lists too, replaces.

    A mapping with `name` is a part: one that names another part replaces, since the settings of
    the old one mean nothing to it.
    """
    if isinstance(under, Mapping) and isinstance(over, str) and "name" in under:
        over = {"name": over}
    if isinstance(under, str) and isinstance(over, Mapping):
        under = {"name": under}
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    if "name" in under and "name" in over and under["name"] != over["name"]:
        return dict(over)
    merged = dict(under)
    for key, value in over.items():
        merged[key] = merge(under[key], value) if key in under else value
    return merged


_OVERRIDE = re.compile(r"([A-Za-z_]\w*(?:\.\w+)*)=(.*)", re.DOTALL)


def apply_overrides(raw: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set each `dotted.key=value` in turn.

    Raises:
        ConfigError: with every override that cannot be applied.
    """
    settings = dict(raw)
    faults: list[Fault] = []
    for override in overrides:
        try:
            settings = apply_override(settings, override)
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults, "overrides")
    return settings


def apply_override(raw: Mapping[str, Any], override: str) -> dict[str, Any]:
    """Set one `dotted.key=value`; the value is YAML. List places are numbers (`masks.0.trim`).

    A mapping as value is merged into what stands there, as a file's is into the defaults.

    Raises:
        ConfigError: the text is no override, or its path leads through a value or past a list.
    """
    match = _OVERRIDE.fullmatch(override)
    try:
        if match is None:
            raise ConfigError("allowed: key=value, such as optim.lr=1e-3")
        value = _value(match[2])
        placed: dict[str, Any] = _place(raw, match[1].split("."), value)
    except ConfigError as error:
        faults = [Fault(f"'{override}'", fault.message) for fault in error.faults]
        raise ConfigError(faults, "overrides") from error
    return placed


def _value(text: str) -> Any:
    try:
        return parse_yaml(text, "value")
    except ConfigError as error:
        problem = error.faults[0].message
        raise ConfigError(
            f"the value is not YAML ({problem}); put text with special characters in quotes, "
            "inside those of the shell"
        ) from error


def _place(at: Any, path: Sequence[str], value: Any) -> Any:
    """A copy of `at` with `value` at `path`."""
    if not path:
        return merge(at, value) if isinstance(at, Mapping) else value
    key, *rest = path
    if isinstance(at, list):
        if not key.isdecimal() or int(key) >= len(at):
            places = f"0 to {len(at) - 1}" if at else "none, the list is empty"
            raise ConfigError(f"found place '{key}' of a list, allowed: {places}")
        return [_place(x, rest, value) if i == int(key) else x for i, x in enumerate(at)]
    if isinstance(at, str):
        at = {"name": at}
    if at is None:
        at = {}
    if not isinstance(at, Mapping):
        raise ConfigError(f"'{key}' lies below {show(at)}, which has no keys")
    if path == ["name"]:
        return merge(at, {"name": value})
    return {**at, key: _place(at.get(key), rest, value)}


def flatten(settings: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of plain settings; lists count their places."""
    if isinstance(settings, Mapping) and settings:
        items: Any = settings.items()
    elif isinstance(settings, list | tuple) and settings:
        items = enumerate(settings)
    else:
        return {prefix: settings}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each dotted key in which two plain settings differ."""
    before, after = flatten(old), flatten(new)
    return [
        f"{key}: {_shown(before, key)} -> {_shown(after, key)}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, ...) != after.get(key, ...)
    ]


def _shown(flat: Mapping[str, Any], key: str) -> str:
    return show(flat[key]) if key in flat else "absent"
