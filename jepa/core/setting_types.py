"""Which types settings have, and what an error says of them."""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from jepa.core.errors import ConfigError, did_you_mean
from jepa.core.parts import Part
from jepa.core.validators import show

_WORDS: Mapping[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def allowed(tp: Any) -> str:
    """A type in words."""
    if tp in _WORDS:
        return _WORDS[tp]
    if is_literal(tp) or is_enum(tp):
        return ", ".join(map(show, choices(tp)))
    if is_union(tp):
        return " or ".join(map(allowed, get_args(tp)))
    if is_part(tp):
        return "a name, or a mapping with `name`"
    if get_origin(tp) is tuple and get_args(tp)[-1] is not Ellipsis:
        return f"a list of {len(get_args(tp))}"
    return "a list" if is_sequence(tp) else "a mapping"


def mismatch(value: Any, tp: Any) -> ConfigError:
    """The error that says what was found and what the type allows."""
    nearest = ""
    if isinstance(value, str):
        options = [o for arg in (tp, *get_args(tp)) if is_literal(arg) for o in choices(arg)]
        nearest = did_you_mean(value, [o for o in options if isinstance(o, str)])
    elif tp is int and isinstance(value, float) and value.is_integer():
        nearest = f"; write {int(value)}"
    return ConfigError(f"found {show(value)}, allowed: {allowed(tp)}{nearest}")


def is_part(tp: Any) -> bool:
    """Whether it is a part of some kind, such as `EncoderPart`."""
    return is_noted(tp) and get_args(tp)[0] is Part


def is_noted(tp: Any) -> bool:
    """Whether it is another type with a note: `Annotated[int, "..."]`."""
    return get_origin(tp) is Annotated


def is_union(tp: Any) -> bool:
    """Whether it is one of several types: `int | None`."""
    return get_origin(tp) in (Union, types.UnionType)


def is_literal(tp: Any) -> bool:
    """Whether it is one of some values."""
    return get_origin(tp) is Literal


def is_enum(tp: Any) -> bool:
    """Whether it is an Enum, of whatever values."""
    return isinstance(tp, type) and issubclass(tp, enum.Enum)


def is_sequence(tp: Any) -> bool:
    """Whether YAML has a list for it: `tuple[int, int]`, `list[str]`, `frozenset[str]`."""
    return get_origin(tp) in (tuple, list, Sequence, set, frozenset)


def is_mapping(tp: Any) -> bool:
    """Whether it is a mapping of names: `dict[str, float]`."""
    return get_origin(tp) in (dict, Mapping) and get_args(tp)[0] is str


def choices(tp: Any) -> Sequence[Any]:
    """The values of an Enum or a Literal, as YAML has them."""
    return [member.value for member in tp] if is_enum(tp) else get_args(tp)
