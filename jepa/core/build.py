"""The only place where names become objects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import attrs
import torch

from jepa.core.config import RunConfig
from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler, TargetUpdater
from jepa.core.modality import Modality
from jepa.core.model import JEPA, Backbone
from jepa.core.settings import Part

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Built:
    """The objects of a run."""

    modality: Modality
    grid: Grid
    samplers: tuple[MaskSampler, ...]
    updater: TargetUpdater
    model: JEPA


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Initial weights are a function of the seed, and leave no trace in torch's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _at(path: str, make: Callable[[], T]) -> T:
    """Build one part; it refuses settings by their own names, which `path` stands before."""
    try:
        return make()
    except ConfigError as error:
        faults = [
            Fault(".".join(filter(None, (path, fault.path))), fault.message)
            for fault in error.faults
        ]
        raise ConfigError(faults) from error


def make_modality(config: RunConfig) -> Modality:
    """The modality alone."""
    modality: Modality = _at("modality", lambda: config.modality.cls(config.modality.config))
    return modality


def model_dim(config: RunConfig) -> int:
    """Width D: `model.dim`, or what the encoder's settings imply.

    Raises:
        ConfigError: neither gives one.
    """
    encoder = config.model.encoder
    dim = config.model.dim or encoder.cls.width(encoder.config)
    if dim is None:
        raise ConfigError(
            Fault("model.dim", "missing: set it, or a preset of the encoder that implies it")
        )
    return int(dim)


def make_samplers(config: RunConfig, grid: Grid) -> tuple[MaskSampler, ...]:
    """The mask sampler of each view."""

    def make(part: Part, place: int) -> MaskSampler:
        sampler: MaskSampler = _at(f"masks.{place}", lambda: part.cls(part.config, grid=grid))
        return sampler

    return tuple(make(part, place) for place, part in enumerate(config.masks))


def make_backbone(config: RunConfig, modality: Modality) -> Backbone:
    """A backbone with the initial weights that the run's seed gives."""
    dim = model_dim(config)
    tokenizer_part, encoder_part = config.model.tokenizer, config.model.encoder
    with seeded(config.train.seed):
        tokenizer = _at(
            "model.tokenizer",
            lambda: tokenizer_part.cls(tokenizer_part.config, spec=modality.spec, dim=dim),
        )
        encoder = _at(
            "model.encoder",
            lambda: encoder_part.cls(encoder_part.config, grid=tokenizer.grid, dim=dim),
        )
    return Backbone(tokenizer, encoder, dim, modality.spec)


def build(config: RunConfig) -> Built:
    """Every object of a run, on the current default device (`with torch.device("meta")` works).

    Raises:
        ConfigError: parts that do not fit together, each at its place in the config.
    """
    modality = make_modality(config)
    backbone = make_backbone(config, modality)
    grid = backbone.tokenizer.grid
    samplers = make_samplers(config, grid)
    model = config.model

    def part(where: str, part: Part, **known: Any) -> Any:
        return _at(where, lambda: part.cls(part.config, **known))

    updater: TargetUpdater = part("model.target", model.target)
    # The target comes before the predictor, whose output width is the target's.
    target = _at("model.target", lambda: updater.make_target(backbone))
    with seeded(config.train.seed + 1):
        predictor = part(
            "model.predictor",
            model.predictor,
            grid=grid,
            dim=backbone.dim,
            target_dim=target.dim,
            views=len(samplers),
        )
        regularizers = {
            name: part(f"model.regularizers.{place}", regularizer, dim=backbone.dim)
            for place, (name, regularizer) in enumerate(_named(model.regularizers).items())
        }
    jepa = JEPA(
        prepare=modality.device_transform(),
        backbone=backbone,
        predictor=predictor,
        target=target,
        objective=part("model.objective", model.objective),
        regularizers=regularizers,
    )
    return Built(modality=modality, grid=grid, samplers=samplers, updater=updater, model=jepa)


def with_modality(built: Built, config: RunConfig) -> Built:
    """The same objects with the modality of a config that differs in measured numbers alone."""
    modality = make_modality(config)
    built.model.prepare = modality.device_transform()
    return attrs.evolve(built, modality=modality)


def _named(parts: Sequence[Part]) -> dict[str, Part]:
    """Parts by name; those that share one are numbered: `name_0`, `name_1`."""
    names = [part.plugin.name for part in parts]
    return {
        name if names.count(name) == 1 else f"{name}_{names[:place].count(name)}": part
        for place, (name, part) in enumerate(zip(names, parts, strict=True))
    }
