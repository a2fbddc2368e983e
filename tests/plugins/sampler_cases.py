"""Every mask sampler with settings that work on the grids of the tests, and how to count masks."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from jepa.core import registry
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import structure
from jepa.core.tokens import Masks

GRIDS = (
    Grid((40,), ("t",)),
    Grid((13,), ("t",)),
    Grid((8, 8), ("y", "x")),
    Grid((5, 12), ("t", "f")),
    Grid((7, 9), ("y", "x")),
    Grid((4, 6, 6), ("t", "y", "x")),
    Grid((3, 5, 4), ("t", "y", "x")),
)

SPANS = {"length": 2, "min_keep": 2}
TUBE = {"min_keep": 4, "num_targets": 3}
NESTED: dict[str, Any] = {
    "first": {"name": "multiblock", "min_keep": 4},
    "last": {"name": "random", "ratio": 0.3},
}
CASES: dict[str, list[dict[str, Any]]] = {
    "block": [{}, {"target_scale": [0.1, 0.5]}],
    "curriculum": [NESTED, NESTED | {"end": 0.0}],
    "multiblock": [{"min_keep": 4}],
    "multiblock_official": [{"min_keep": 1, "num_targets": 2}],
    "random": [{}, {"ratio": [0.4, 0.6]}],
    "rasterized": [{}],
    "spans": [SPANS, SPANS | {"num_targets": 1, "context_share": 1.0}],
    "time_frequency": [{}, {"scale": [0.1, 0.6]}],
    "tube": [TUBE, TUBE | {"target_scale": [0.2, 0.5]}],
}
"""Settings by name; for those of every grid."""

AXIS_CASES: dict[str, list[dict[str, Any]]] = {
    "spans": [SPANS | {"axis": "last"}],
    "time_frequency": [{"axes": ["last"]}],
    "tube": [TUBE | {"through": ["first"]}, TUBE | {"through": ["last"]}],
}
"""Settings that name the first or the last axis, for grids of two axes or more."""


class Case(NamedTuple):
    """A sampler by name, its settings, and a grid."""

    name: str
    settings: dict[str, Any]
    grid: Grid

    def __str__(self) -> str:
        settings = "-".join(f"{k}={v}" for k, v in self.settings.items() if k not in NESTED)
        return f"{self.name}-{'x'.join(map(str, self.grid.shape))}-{settings}".replace(" ", "")


def _named(settings: dict[str, Any], grid: Grid) -> dict[str, Any]:
    names = {"first": grid.axes[0], "last": grid.axes[-1]}

    def name(value: Any) -> Any:
        if isinstance(value, list):
            return [name(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    return {key: name(value) for key, value in settings.items()}


def cases() -> list[Case]:
    """All of them; the published sampler knows two axes alone."""
    found = []
    for grid in GRIDS:
        for name, all_settings in CASES.items():
            if name != "multiblock_official" or grid.ndim == 2:
                found += [Case(name, settings, grid) for settings in all_settings]
        if grid.ndim > 1:
            for name, all_settings in AXIS_CASES.items():
                found += [Case(name, _named(settings, grid), grid) for settings in all_settings]
    return found


def make(name: str, grid: Grid, **settings: Any) -> MaskSampler:
    """A sampler as a config makes it."""
    cls = registry.load(registry.find("mask_sampler", name))
    sampler: MaskSampler = cls(structure(settings, cls.Config), grid=grid)
    return sampler


def split(sampler: MaskSampler, size: int, total: int, step: int = 2) -> list[Masks]:
    """A global batch as processes of `size` samples each draw it."""
    return [
        sampler.sample(size, Rng(6, step, size, start, total, progress=0.4))
        for start in range(0, total, size)
    ]


def counts(sampler: MaskSampler, grid: Grid, batch: int, steps: int) -> tuple[Any, Any]:
    """How often each place is context, and target (overlaps once): [N] each, of all samples."""
    context, target = np.zeros(grid.size), np.zeros(grid.size)
    for step in range(steps):
        masks = sampler.sample(batch, Rng(5, step, batch, progress=0.5))
        context += np.bincount(masks.context.flatten().numpy(), minlength=grid.size)
        target += hidden(masks, grid).sum(dim=0).numpy()
    return context, target


def hidden(masks: Masks, grid: Grid) -> torch.Tensor:
    """Which places are target: [B, N]."""
    places = torch.zeros(len(masks.targets), grid.size, dtype=torch.bool)
    return places.scatter_(1, masks.targets.flatten(1), True)
