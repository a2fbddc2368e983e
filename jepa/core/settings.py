"""Typed settings: plain data in, attrs classes out, every fault with its path.

Strict: no 3.7 for an integer, no True for 1, no unknown key. A part's mapping names its plugin
(`name`); the rest of the mapping becomes that plugin's own `Config`.
"""

from __future__ import annotations

import contextlib
import enum
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import StructureHandlerNotFoundError

from jepa.core import registry
from jepa.core.errors import ConfigError, Fault, JepaError, did_you_mean
from jepa.core.parts import (
    EncoderPart,
    MaskSamplerPart,
    ModalityPart,
    ObjectivePart,
    ObserverPart,
    Part,
    PredictorPart,
    ProtocolPart,
    RegularizerPart,
    SourcePart,
    TargetUpdaterPart,
    TokenizerPart,
    parts,
    unstructure,
)
from jepa.core.validators import (
    FieldError,
    check,
    fraction,
    non_negative,
    positive,
    positive_all,
    positive_range,
    scale_range,
    show,
)

__all__ = [
    "EncoderPart",
    "FieldError",
    "MaskSamplerPart",
    "ModalityPart",
    "ObjectivePart",
    "ObserverPart",
    "Part",
    "PredictorPart",
    "ProtocolPart",
    "RegularizerPart",
    "SourcePart",
    "TargetUpdaterPart",
    "TokenizerPart",
    "check",
    "fraction",
    "non_negative",
    "parts",
    "positive",
    "positive_all",
    "positive_range",
    "scale_range",
    "show",
    "structure",
    "unstructure",
]

T = TypeVar("T")


@contextlib.contextmanager
def _below(faults: list[Fault], step: str) -> Iterator[None]:
    """Keep the faults of what happens inside, their paths below `step`: the next one is wanted."""
    try:
        yield
    except (JepaError, ValueError, TypeError, StructureHandlerNotFoundError) as error:
        for fault in _faults(error):
            faults.append(Fault(".".join(filter(None, (step, fault.path))), fault.message))


def _faults(error: Exception) -> tuple[Fault, ...]:
    if isinstance(error, ConfigError):
        return error.faults
    if isinstance(error, FieldError):
        return (Fault("", error.message),)
    if isinstance(error, StructureHandlerNotFoundError):
        return (Fault("", f"settings of type {error.type_} are not supported"),)
    # The validators of attrs put the field and the value behind the message.
    return (Fault("", str(error.args[0] if error.args else error)),)


_WORDS: Mapping[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def _allowed(tp: Any) -> str:
    """A type in words."""
    if tp in _WORDS:
        return _WORDS[tp]
    if _is_literal(tp) or _is_enum(tp):
        return ", ".join(map(show, _choices(tp)))
    if _is_union(tp):
        return " or ".join(map(_allowed, get_args(tp)))
    if _is_part(tp):
        return "a name, or a mapping with `name`"
    if get_origin(tp) is tuple and get_args(tp)[-1] is not Ellipsis:
        return f"a list of {len(get_args(tp))}"
    return "a list" if _is_sequence(tp) else "a mapping"


def _mismatch(value: Any, tp: Any) -> ConfigError:
    nearest = ""
    if isinstance(value, str):
        options = [o for arg in (tp, *get_args(tp)) if _is_literal(arg) for o in _choices(arg)]
        nearest = did_you_mean(value, [o for o in options if isinstance(o, str)])
    elif tp is int and isinstance(value, float) and value.is_integer():
        nearest = f"; write {int(value)}"
    return ConfigError(f"found {show(value)}, allowed: {_allowed(tp)}{nearest}")


def _is_part(tp: Any) -> bool:
    return get_origin(tp) is Annotated and get_args(tp)[0] is Part


def _is_union(tp: Any) -> bool:
    return get_origin(tp) in (Union, types.UnionType)


def _is_literal(tp: Any) -> bool:
    return get_origin(tp) is Literal


def _is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, enum.Enum)


def _is_sequence(tp: Any) -> bool:
    return get_origin(tp) in (tuple, list, Sequence)


def _choices(tp: Any) -> Sequence[Any]:
    return [member.value for member in tp] if _is_enum(tp) else get_args(tp)


def _scalar(value: Any, tp: Any) -> Any:
    if type(value) is not tp:
        raise _mismatch(value, tp)
    return value


def _number(value: Any, tp: Any) -> float:
    if type(value) not in (int, float):
        raise _mismatch(value, tp)
    if not abs(value) <= sys.float_info.max:
        raise ConfigError(f"found {show(value)}, allowed: a finite number")
    return float(value)


def _path(value: Any, tp: Any) -> Path:
    if not isinstance(value, str):
        raise _mismatch(value, tp)
    return Path(value).expanduser()


def _choice(value: Any, tp: Any) -> Any:
    if not any(value == choice and type(value) is type(choice) for choice in _choices(tp)):
        raise _mismatch(value, tp)
    return tp(value) if _is_enum(tp) else value


def _sequence(value: Any, tp: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise _mismatch(value, tp)
    items = get_args(tp)
    if get_origin(tp) is not tuple or items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"found {len(value)} values, allowed: a list of {len(items)}")
    faults: list[Fault] = []
    made: list[Any] = []
    for place, (item, item_type) in enumerate(zip(value, items, strict=True)):
        with _below(faults, str(place)):
            made.append(_CONVERTER.structure(item, item_type))
    if faults:
        raise ConfigError(faults)
    return made if get_origin(tp) is list else tuple(made)


def _union(value: Any, tp: Any) -> Any:
    if value is None and type(None) in get_args(tp):
        return None
    members = [arg for arg in get_args(tp) if arg is not type(None)]
    if len(members) == 1:
        return _CONVERTER.structure(value, members[0])
    for member in members:
        with contextlib.suppress(ConfigError):
            return _CONVERTER.structure(value, member)
    raise _mismatch(value, tp)


def _part(value: Any, tp: Any) -> Part:
    (kind,) = tp.__metadata__
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise _mismatch(value, tp)
    name = value.get("name")
    if not isinstance(name, str):
        found = f"found {show(name)}" if "name" in value else "missing"
        names = ", ".join(registry.names(kind))
        raise ConfigError(Fault("name", f"{found}, allowed: the name of a part: {names}"))
    plugin = registry.find(kind, name)
    settings = {key: item for key, item in value.items() if key != "name"}
    return Part(kind, name, _CONVERTER.structure(settings, registry.load(plugin).Config), plugin)


def _settings(value: Any, cl: Any) -> Any:
    if not isinstance(value, Mapping):
        raise _mismatch(value, cl)
    fields = {field.alias: field for field in attrs.fields(attrs.resolve_types(cl)) if field.init}
    allowed = ", ".join(map(str, fields)) or "none"
    faults = [
        Fault(str(key), f"unknown key, allowed: {allowed}{did_you_mean(str(key), fields)}")
        for key in value
        if key not in fields
    ]
    made: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            with _below(faults, name):
                made[name] = _CONVERTER.structure(value[name], field.type)
                _validate(field, made[name])
        elif field.default is attrs.NOTHING:
            faults.append(Fault(name, "missing: it has no default, so the config must set it"))
    if faults:
        raise ConfigError(faults)
    try:
        return cl(**made)
    except FieldError as error:
        raise ConfigError(Fault(error.name, error.message)) from error


def _validate(field: attrs.Attribute[Any], value: Any) -> None:
    """Ask the field's validator before the object exists: attrs would stop at the first fault.

    A validator that looks at other fields (and so fails on None) has its say when the object is
    made, and so has one that wants what a converter makes of the value.
    """
    if field.validator is not None and field.converter is None:
        with contextlib.suppress(AttributeError):
            field.validator(None, field, value)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    for tp in (int, bool, str):
        converter.register_structure_hook(tp, _scalar)
    converter.register_structure_hook(float, _number)
    converter.register_structure_hook(Path, _path)
    for applies, hook in (
        (attrs.has, _settings),
        (_is_sequence, _sequence),
        (_is_union, _union),
        (_is_literal, _choice),
        (_is_enum, _choice),
        (_is_part, _part),
    ):
        converter.register_structure_hook_func(applies, hook)
    return converter


_CONVERTER = _make_converter()


def structure(raw: Any, cl: type[T], where: str = "config") -> T:
    """Make a typed config, or a single part, of plain YAML data.

    Raises:
        ConfigError: with every fault, each with its path.
    """
    faults: list[Fault] = []
    with _below(faults, ""):
        return _CONVERTER.structure(raw, cl)
    raise ConfigError(faults, where)
