"""Typed settings: plain data in, attrs classes out, every fault with its path.

Strict: no 3.7 for an integer, no True for 1, no unknown key. A part's mapping names its plugin
(`name`); the rest of the mapping becomes that plugin's own `Config`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
import cattrs
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)

from jepa.core import registry
from jepa.core.errors import ConfigError, Fault, PluginError, did_you_mean, one_of

T = TypeVar("T")


@attrs.frozen
class Part:
    """A plugin that a config names, loaded, with its typed settings."""

    kind: str
    name: str
    config: Any
    plugin: registry.Plugin = attrs.field(repr=False)

    @property
    def cls(self) -> type[Any]:
        """The plugin's class, imported."""
        return registry.load(self.plugin)


ModalityPart = Annotated[Part, "modality"]
TokenizerPart = Annotated[Part, "tokenizer"]
MaskSamplerPart = Annotated[Part, "mask_sampler"]
EncoderPart = Annotated[Part, "encoder"]
PredictorPart = Annotated[Part, "predictor"]
TargetUpdaterPart = Annotated[Part, "target_updater"]
ObjectivePart = Annotated[Part, "objective"]
RegularizerPart = Annotated[Part, "regularizer"]
SourcePart = Annotated[Part, "source"]
ObserverPart = Annotated[Part, "observer"]


# --- validators of single fields ----------------------------------------------------------------


class FieldError(ValueError):
    """A value out of bounds; knows the field, so that the fault can say its path."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        super().__init__(message)


def check(allowed: str, accept: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """An attrs validator: `accept` decides, `allowed` says in words what it accepts.

    None passes, so that optional fields need no case of their own.
    """

    def validate(_: Any, attribute: Any, value: Any) -> None:
        if value is not None and not accept(value):
            raise FieldError(attribute.name, f"found {show(value)}, allowed: {allowed}")

    return validate


positive = check("above 0", lambda v: v > 0)
non_negative = check("0 or more", lambda v: v >= 0)
fraction = check("0 to 1", lambda v: 0 <= v <= 1)
positive_all = check("one or more numbers above 0", lambda v: len(v) > 0 and min(v) > 0)
positive_range = check("two numbers, 0 < low <= high", lambda v: len(v) == 2 and 0 < v[0] <= v[1])
scale_range = check(
    "two fractions, 0 < low <= high <= 1", lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1
)


# --- structuring --------------------------------------------------------------------------------


class MismatchError(ValueError):
    """A value of the wrong type; the text says what was found and what is allowed."""


def show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _type_name(tp: Any) -> str:
    if get_origin(tp) is Literal:
        return " or ".join(repr(arg) for arg in get_args(tp))
    if get_origin(tp) is tuple:
        return "a list"
    names = {
        int: "an integer", float: "a number", bool: "true or false", str: "text",
        Path: "a path", type(None): "null",
    }  # fmt: skip
    return names.get(tp, "a mapping" if attrs.has(tp) else str(tp))


def _expect(tp: Any, value: Any) -> MismatchError:
    found = "true" if value is True else "false" if value is False else show(value)
    kind = "null" if value is None else type(value).__name__
    return MismatchError(f"found {found} ({kind}), allowed: {_type_name(tp)}")


def _primitive(tp: type, accepts: tuple[type, ...]) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) not in accepts:
            raise _expect(tp, value)
        return tp(value)

    return structure


def _literal(value: Any, tp: Any) -> Any:
    allowed = get_args(tp)
    if not any(value == arg and type(value) is type(arg) for arg in allowed):
        raise MismatchError(one_of(str(value), map(str, allowed)))
    return value


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    for tp, accepts in ((int, (int,)), (bool, (bool,)), (str, (str,)), (float, (int, float))):
        converter.register_structure_hook(tp, _primitive(tp, accepts))
    converter.register_structure_hook(Path, _primitive(Path, (str,)))
    converter.register_unstructure_hook(Path, str)

    def sequence(value: Any, tp: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _expect(tp, value)
        args = get_args(tp)
        if len(args) != 2 or args[1] is not Ellipsis:
            if len(value) != len(args):
                raise MismatchError(f"found {len(value)} values, allowed: a list of {len(args)}")
            return tuple(converter.structure(list(value), tuple[args[0], ...]))
        return tuple(converter.structure(list(value), list[args[0]]))  # type: ignore[valid-type]

    def union(value: Any, tp: Any) -> Any:
        if value is None and type(None) in get_args(tp):
            return None
        members = [arg for arg in get_args(tp) if arg is not type(None)]
        if len(members) == 1:
            return converter.structure(value, members[0])
        for member in members:
            try:
                return converter.structure(value, member)
            except (MismatchError, BaseValidationError):
                continue
        allowed = ", or ".join(_type_name(arg) for arg in get_args(tp))
        raise MismatchError(f"found {show(value)}, allowed: {allowed}")

    def part(value: Any, tp: Any) -> Part:
        (kind,) = tp.__metadata__
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping):
            raise MismatchError(f"found {show(value)}, allowed: a name, or a mapping with `name`")
        if not isinstance(value.get("name"), str):
            raise MismatchError(f"found no `name` of a {kind.replace('_', ' ')}")
        plugin = registry.find(kind, value["name"])
        settings = {key: item for key, item in value.items() if key != "name"}
        config = converter.structure(settings, registry.load(plugin).Config)
        return Part(kind, value["name"], config, plugin)

    def attrs_class(cl: type) -> Callable[[Any, Any], Any]:
        structure = cattrs.gen.make_dict_structure_fn(
            cl, converter, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True
        )

        def strict(value: Any, tp: Any) -> Any:
            if not isinstance(value, Mapping):
                raise _expect(tp, value)
            return structure(value, tp)

        return strict

    converter.register_structure_hook_factory(attrs.has, attrs_class)
    converter.register_structure_hook_func(lambda t: get_origin(t) is tuple, sequence)
    converter.register_structure_hook_func(
        lambda t: get_origin(t) in (Union, types.UnionType), union
    )
    converter.register_structure_hook_func(lambda t: get_origin(t) is Literal, _literal)
    converter.register_structure_hook_func(lambda t: get_origin(t) is Annotated, part)
    converter.register_unstructure_hook(
        Part, lambda p: {"name": p.name, **converter.unstructure(p.config)}
    )
    return converter


_CONVERTER = _make_converter()


def _faults(error: BaseException, path: tuple[str, ...] = (), cl: Any = None) -> list[Fault]:
    """Flatten what cattrs raised into one fault a wrong place."""
    dotted = ".".join(path)
    if isinstance(error, BaseValidationError):
        found: list[Fault] = []
        for inner in error.exceptions:
            step: tuple[str, ...] = ()
            for note in getattr(inner, "__notes__", ()):
                if isinstance(note, AttributeValidationNote):
                    step = (str(note.name),)
                elif isinstance(note, IterableValidationNote):
                    step = (str(note.index),)
            found += _faults(inner, path + step, getattr(error, "cl", cl))
        return found
    if isinstance(error, ForbiddenExtraKeysError):
        allowed = [a.name for a in attrs.fields(error.cl)]
        return [
            Fault(
                ".".join((*path, str(key))),
                f"unknown key, allowed: {', '.join(allowed)}{did_you_mean(str(key), allowed)}",
            )
            for key in sorted(error.extra_fields, key=str)
        ]
    if isinstance(error, FieldError):
        return [Fault(".".join((*path, error.name)), str(error))]
    if isinstance(error, ConfigError):
        return [Fault(".".join((*path, f.path)).strip("."), f.message) for f in error.faults]
    if isinstance(error, KeyError):
        return [Fault(dotted, "missing: it has no default, so the config must set it")]
    if isinstance(error, ValueError | TypeError | PluginError):
        return [Fault(dotted, str(error))]
    raise error


def structure(raw: Any, cl: type[T], where: str = "config") -> T:
    """Make a typed config of plain YAML data.

    Raises:
        ConfigError: with every fault, each with its path.
    """
    try:
        return _CONVERTER.structure(raw, cl)
    except (BaseValidationError, ForbiddenExtraKeysError, MismatchError, PluginError) as error:
        raise ConfigError(_faults(error), where) from error


def unstructure(config: Any) -> dict[str, Any]:
    """Plain data of a typed config, complete with defaults; `structure` reads it back."""
    plain: dict[str, Any] = _CONVERTER.unstructure(config)
    return typing.cast(dict[str, Any], _listed(plain))


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _listed(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_listed(v) for v in value]
    return value


def parts(config: Any) -> list[Part]:
    """Every part that a typed config names, at any depth."""
    if isinstance(config, Part):
        return [config, *parts(config.config)]
    if attrs.has(type(config)):
        return [p for a in attrs.fields(type(config)) for p in parts(getattr(config, a.name))]
    if isinstance(config, list | tuple):
        return [p for item in config for p in parts(item)]
    return []
