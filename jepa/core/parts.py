"""A part as a config names it, and typed settings as plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import numpy as np

from jepa.core import registry


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
ProtocolPart = Annotated[Part, "protocol"]
ObserverPart = Annotated[Part, "observer"]


def unstructure(config: Any) -> dict[str, Any]:
    """Plain data of a typed config, complete with defaults; `structure` reads it back."""
    made: dict[str, Any] = plain(config)
    return made


def plain(value: Any) -> Any:
    """Any setting as YAML knows it: new dicts and lists of scalars, paths as text.

    Numbers of numpy, as means come, are plain ones.
    """
    if isinstance(value, Part):
        return {"name": value.name, **plain(value.config)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if attrs.has(type(value)):
        fields = [field for field in attrs.fields(type(value)) if field.init]
        return {str(field.alias): plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in _in_order(value)]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value) if isinstance(value, Path) else value


def _in_order(items: list[Any] | tuple[Any, ...] | set[Any] | frozenset[Any]) -> Sequence[Any]:
    """The same, those of a set in an order that is always the same."""
    return items if isinstance(items, list | tuple) else sorted(items, key=repr)


def reads_root(source: Part) -> bool:
    """Whether a source, and each that its settings name, reads `data.root`."""
    return all(part.cls.takes_root for part in _sources(source))


def stretches_refused(source: Part, modality: type[Any]) -> str | None:
    """Why a source does not suit a modality, or None.

    Args:
        source: as a config names it.
        modality: the modality's class.
    """
    givers = [part.name for part in _sources(source) if part.cls.gives_stretches]
    if not givers or modality.takes_stretches:
        return None
    return (
        f"found '{givers[0]}', which gives stretches of samples, but the modality takes whole "
        "samples alone"
    )


def _sources(source: Part) -> list[Part]:
    return [part for part in parts(source) if part.kind == "source"]


def parts(config: Any) -> list[Part]:
    """Every part that a typed config names, at any depth."""
    if isinstance(config, Part):
        return [config, *parts(config.config)]
    if attrs.has(type(config)):
        return [p for a in attrs.fields(type(config)) for p in parts(getattr(config, a.name))]
    if isinstance(config, list | tuple | set | frozenset):
        return [p for item in _in_order(config) for p in parts(item)]
    if isinstance(config, Mapping):
        return [p for item in config.values() for p in parts(item)]
    return []
