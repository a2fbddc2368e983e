"""Typed settings: plain data in, attrs classes out, every fault with its path.

Strict: no 3.7 for an integer, no True for 1, no unknown key. A part's mapping names its plugin
(`name`); the rest of the mapping becomes that plugin's own `Config`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import cattrs

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
from jepa.core.setting_types import (
    choices,
    is_enum,
    is_literal,
    is_mapping,
    is_noted,
    is_part,
    is_sequence,
    is_union,
    mismatch,
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
    except (JepaError, ValueError, TypeError) as error:
        for fault in _faults(error):
            faults.append(Fault(".".join(filter(None, (step, fault.path))), fault.message))


def _faults(error: Exception) -> tuple[Fault, ...]:
    if isinstance(error, ConfigError):
        return error.faults
    if isinstance(error, FieldError):
        return (Fault("", error.message),)
    # The validators of attrs put the field and the value behind the message.
    return (Fault("", str(error.args[0] if error.args else error)),)


def _scalar(value: Any, tp: Any) -> Any:
    if is_enum(tp):  # cattrs takes a StrEnum for text
        return _choice(value, tp)
    if type(value) is not tp:
        raise mismatch(value, tp)
    return value


def _number(value: Any, tp: Any) -> float:
    if type(value) not in (int, float):
        raise mismatch(value, tp)
    if not abs(value) <= sys.float_info.max:
        raise ConfigError(f"found {show(value)}, allowed: a finite number")
    return float(value)


def _path(value: Any, tp: Any) -> Path:
    if not isinstance(value, str):
        raise mismatch(value, tp)
    return Path(value).expanduser()


def _choice(value: Any, tp: Any) -> Any:
    if not any(value == choice and type(value) is type(choice) for choice in choices(tp)):
        raise mismatch(value, tp)
    return tp(value) if is_enum(tp) else value


def _sequence(value: Any, tp: Any) -> Any:
    if not isinstance(value, list | tuple):
        raise mismatch(value, tp)
    items = get_args(tp)
    if get_origin(tp) is not tuple or items[-1] is Ellipsis:
        items = (items[0],) * len(value)
    if len(items) != len(value):
        raise ConfigError(f"found {len(value)} values, allowed: a list of {len(items)}")
    faults: list[Fault] = []
    made: list[Any] = []
    for place, (item, item_type) in enumerate(zip(value, items, strict=True)):
        with _below(faults, str(place)):
            made.append(_structured(item, item_type))
    if faults:
        raise ConfigError(faults)
    return _COLLECTIONS.get(get_origin(tp), tuple)(made)


_COLLECTIONS: Mapping[Any, Callable[[list[Any]], Any]] = {
    list: list,
    set: set,
    frozenset: frozenset,
}


def _mapping(value: Any, tp: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise mismatch(value, tp)
    faults: list[Fault] = []
    made: dict[str, Any] = {}
    for key, item in value.items():
        with _below(faults, str(key)):
            made[_scalar(key, str)] = _structured(item, get_args(tp)[1])
    if faults:
        raise ConfigError(faults)
    return made


def _union(value: Any, tp: Any) -> Any:
    if value is None and type(None) in get_args(tp):
        return None
    members = [arg for arg in get_args(tp) if arg is not type(None)]
    if len(members) == 1:
        return _structured(value, members[0])
    for member in members:
        with contextlib.suppress(ConfigError):
            return _structured(value, member)
    raise mismatch(value, tp)


def _part(value: Any, tp: Any) -> Part:
    (kind,) = tp.__metadata__
    if isinstance(value, str):
        value = {"name": value}
    if not isinstance(value, Mapping):
        raise mismatch(value, tp)
    name = value.get("name")
    if not isinstance(name, str):
        found = f"found {show(name)}" if "name" in value else "missing"
        names = ", ".join(registry.names(kind))
        raise ConfigError(Fault("name", f"{found}, allowed: the name of a part: {names}"))
    plugin = registry.find(kind, name)
    settings = {key: item for key, item in value.items() if key != "name"}
    return Part(kind, name, _settings(settings, registry.load(plugin).Config), plugin)


def _settings(value: Any, cl: Any) -> Any:
    if not isinstance(value, Mapping):
        raise mismatch(value, cl)
    fields = {str(field.alias): field for field in registry.fields(cl) if field.init}
    allowed = ", ".join(fields) or "none"
    faults = [
        Fault(str(key), f"unknown key, allowed: {allowed}{did_you_mean(str(key), fields)}")
        for key in value
        if key not in fields
    ]
    made: dict[str, Any] = {}
    for name, field in fields.items():
        if name in value:
            with _below(faults, name):
                made[name] = _structured(value[name], field.type)
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


def _unsupported(value: Any, tp: Any) -> Any:
    told = "without a type" if tp is None else f"of type {tp}"
    raise ConfigError(f"settings {told} are not supported")


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    # What cattrs knows besides, it reads less strictly, and refuses by other errors than ours.
    converter.register_structure_hook_func(lambda tp: True, _unsupported)
    for applies, read in (
        (lambda tp: tp is Any, lambda value, tp: value),
        (is_noted, lambda value, tp: _structured(value, get_args(tp)[0])),
        (attrs.has, _settings),
        (is_sequence, _sequence),
        (is_mapping, _mapping),
        (is_union, _union),
        (is_literal, _choice),
        (is_enum, _choice),
        (is_part, _part),
    ):
        converter.register_structure_hook_func(applies, read)
    for plain_type, read in (
        (int, _scalar), (bool, _scalar), (str, _scalar), (float, _number), (Path, _path),
        (bytes, _unsupported),
    ):  # fmt: skip
        converter.register_structure_hook(plain_type, read)
    return converter


_CONVERTER = _make_converter()


def _structured(value: Any, tp: Any) -> Any:
    return _CONVERTER.structure(value, tp)


def structure(raw: Any, cl: type[T], where: str = "config") -> T:
    """Make a typed config, or a single part, of plain YAML data.

    Raises:
        ConfigError: with every fault, each with its path.
    """
    faults: list[Fault] = []
    with _below(faults, ""):
        made: T = _structured(raw, cl)
        return made
    raise ConfigError(faults, where)
