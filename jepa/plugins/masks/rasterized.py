"""The grid in quadrants (the ablation of I-JEPA, arXiv 2301.08243, table 6)."""

from __future__ import annotations

import math
from typing import final

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import Floats, Ints
from jepa.plugins.masks.regions import coords, refuse_many_axes
from jepa.plugins.masks.trim import places_of

_NOWHERE = -1


@final
class Rasterized(MaskSampler):
    """The grid in 2^A parts, its axes halved: one is the context, each other one a target.

    So one axis has halves (M = 1), two have quadrants (M = 3), three have octants (M = 7). Which
    part is the context is drawn once a sample.

    All parts are equally large. An axis of odd length leaves one place out, which is drawn once a
    sample, and halves the others. So every place is left out as often as any other, and every token
    is context, and target, as often as any other.

    Raises:
        ConfigError: an axis of this grid has one token.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """It has no settings."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "rasterized")
        if min(grid.shape) < 2:
            axis = grid.axes[grid.shape.index(1)]
            raise ConfigError(
                f"on the grid {grid} the axis {axis} has 1 token, allowed: 2 or more, which make "
                "two halves",
                "rasterized",
            )
        self._grid = grid
        self._coords = coords(grid)
        self._parts = 2**grid.ndim
        self._tokens = math.prod(side // 2 for side in grid.shape)

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T]."""
        uniforms = rng.rows(1 + self._grid.ndim).numpy()
        context = (uniforms[:, 0] * self._parts).astype(np.int64)
        targets = np.arange(self._parts - 1)
        targets = targets + (targets >= context[:, None])
        wanted = np.concatenate([context[:, None], targets], axis=1)  # [B, 2^A]
        chosen = self._part_of(uniforms[:, 1:])[:, None] == wanted[..., None]
        places = places_of(chosen.reshape(-1, self._grid.size), self._tokens)
        places = places.reshape(batch_size, self._parts, self._tokens)
        return Masks(torch.from_numpy(places[:, 0].copy()), torch.from_numpy(places[:, 1:].copy()))

    def _part_of(self, uniforms: Floats) -> Ints:
        """The part of each token, or nowhere: uniforms [B, A] -> [B, N]."""
        part: Ints = np.zeros((len(uniforms), self._grid.size), dtype=np.int64)
        out = np.zeros(part.shape, dtype=np.bool_)
        for side, places, uniform in zip(self._grid.shape, self._coords, uniforms.T, strict=True):
            half = _halves(side, uniform)[:, places]
            out |= half == _NOWHERE
            part = 2 * part + half
        part[out] = _NOWHERE
        return part


def _halves(side: int, uniform: Floats) -> Ints:
    """The half, 0 or 1, of each place along an axis, or nowhere: uniforms [B] -> [B, side]."""
    places = np.arange(side)
    # On an even side the place that is left out lies beyond it.
    left_out = (
        (uniform * side).astype(np.int64)[:, None] if side % 2 else np.full((len(uniform), 1), side)
    )
    half: Ints = (places - (places > left_out) >= side // 2).astype(np.int64)
    half[places == left_out] = _NOWHERE
    return half
