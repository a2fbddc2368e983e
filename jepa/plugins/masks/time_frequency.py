"""Bands along one axis, along another, or both (A-JEPA, arXiv 2311.15830)."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import check, scale_range
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import Bools, Floats, Ints
from jepa.plugins.masks.regions import axes_named, coords, intervals, refuse_many_axes
from jepa.plugins.masks.trim import places_of


@final
class TimeFrequency(MaskSampler):
    """One target (M = 1): a band of places on an axis, through all other axes, or several bands.

    Each step draws which axes have a band, every choice but none as likely, and how wide it is on
    each; each sample draws where, uniform over all places at which the band fits. The target is the
    union of the bands, which cross; the context is the rest.

    On (t, f) that is a stretch of time, a range of frequencies, or both.

    Raises:
        ConfigError: an axis that the grid lacks, or on which a band leaves nothing.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings."""

        axes: tuple[str, ...] | None = attrs.field(
            default=None,
            validator=check("one or more axes, each once", lambda v: 0 < len(set(v)) == len(v)),
        )
        """Axes that can have a band; None: all of the grid's."""
        scale: tuple[float, float] = attrs.field(default=(0.2, 0.4), validator=scale_range)
        """Places of a band, as a share of those on its axis; at least one place."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "time_frequency")
        names = grid.axes if config.axes is None else config.axes
        axes = axes_named(grid, names, "axes", "time_frequency")
        self._grid = grid
        self._scale = config.scale
        self._coords = coords(grid)[axes]
        self._sides: Ints = np.array([grid.shape[axis] for axis in axes])
        for axis, widest in zip(axes, self._widths(config.scale[1]).tolist(), strict=True):
            if widest == grid.shape[axis]:
                raise ConfigError(
                    Fault(
                        "scale",
                        f"on the grid {grid} a band of {config.scale[1]:g} of the axis "
                        f"{grid.axes[axis]} is {widest} of its {widest} places, which leaves no "
                        "context; lower scale, or leave the axis out of axes",
                    ),
                    "time_frequency",
                )

    def _widths(self, scale: float | Floats) -> Ints:
        """Places of a band on each axis, rounded half up: one scale, or one each -> [axes]."""
        widths: Ints = np.maximum((self._sides * scale + 0.5).astype(np.int64), 1)
        return widths

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, 1, T]."""
        axes = len(self._sides)
        # Numbers are drawn for all axes, so that no axis's depend on what others do.
        places = rng.rows(axes).numpy()
        shared = rng.shared(1 + axes).numpy()
        low, high = self._scale
        widths = self._widths(low + (high - low) * shared[1:])
        subset = 1 + int(shared[0] * (2**axes - 1))
        banded = [axis for axis in range(axes) if subset >> axis & 1]
        bands = [self._band(axis, int(widths[axis]), places[:, axis]) for axis in banded]
        target: Bools = np.logical_or.reduce(bands)
        tokens = int(target[0].sum())
        return Masks(
            torch.from_numpy(places_of(~target, self._grid.size - tokens)),
            torch.from_numpy(places_of(target, tokens)[:, None]),
        )

    def _band(self, axis: int, width: int, uniforms: Floats) -> Bools:
        """Tokens [B, N] of a band on one axis; uniforms [B]."""
        side = int(self._sides[axis])
        starts = (uniforms * (side - width + 1)).astype(np.int64)
        band: Bools = intervals(side, starts, width)[:, self._coords[axis]]
        return band
