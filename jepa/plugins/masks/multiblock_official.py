"""Multi-block masks as the published I-JEPA code draws them, with what it does besides the paper.

Written anew from facts about that sampler; no code of it is used. It stands beside `multiblock`, so
that published results can be reproduced.
"""

from __future__ import annotations

import math
from itertools import pairwise

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import positive, positive_range, scale_range
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import Bools, Ints, block_offsets, strides, visible_places
from jepa.plugins.masks.trim import Start, trimmed_together

_TRIES = 20
"""Failures after which the context may overlap one more target."""


class MultiblockOfficial(MaskSampler):
    """M target blocks, and one context block minus their union, with the published code's biases.

    - One uniform sets both the scale and the aspect of the targets, so they are one curve of
      shapes; another sets the scale of the context, whose aspect is 1.
    - Sides stop at one less than the grid's, and the last possible corner is left out: the last
      row and column are never context and never target.
    - A context must keep more than `min_keep` tokens (not: at least). After each 20 failures in a
      row one more target, the last first, is allowed to overlap it: then, and only then, a token
      can be context and target.
    - Contexts are cut to the shortest of the `trim_group` in raster order, so the bottom is lost.

    Drawing a target anew would not change its size, so a size of `min_keep` or less would be drawn
    without end: the constructor refuses settings that contain one. So every draw ends, a context
    after at most 20 M + 1 of them.

    Raises:
        ConfigError: the grid has not two axes, or some block is too small to be accepted.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the defaults are those of the published configs."""

        num_targets: int = attrs.field(default=4, validator=positive)
        """Target blocks M of a sample."""
        target_scale: tuple[float, float] = attrs.field(default=(0.15, 0.2), validator=scale_range)
        """Tokens of a target block, as a share of the grid's."""
        target_aspect: tuple[float, float] = attrs.field(
            default=(0.75, 1.5), validator=positive_range
        )
        """Height to width of a target block, in tokens."""
        context_scale: tuple[float, float] = attrs.field(default=(0.85, 1.0), validator=scale_range)
        """Tokens of the context block before targets are taken out, as a share of the grid's."""
        min_keep: int = attrs.field(default=10, validator=positive)
        """Tokens that every context and every target must exceed."""
        trim_group: int | None = attrs.field(default=None, validator=positive)
        """Places of the global batch that are cut to one length (the published code: the samples
        of one process); None: all of them."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        if grid.ndim != 2:
            raise ConfigError(
                f"found the grid {grid}, allowed: 2 axes; multiblock takes 1 to 3",
                "multiblock_official",
            )
        self._config = config
        self._grid = grid
        self._strides = strides(grid.shape)
        self._trim = Start(grid)
        self._refuse_endless("target", config.target_scale, config.target_aspect)
        self._refuse_endless("context", config.context_scale, (1.0, 1.0))

    def _refuse_endless(
        self, block: str, scale: tuple[float, float], aspect: tuple[float, float]
    ) -> None:
        height, width = min(
            drawable_sides(self._grid.shape, scale, aspect), key=lambda sides: math.prod(sides)
        )
        if height * width <= self._config.min_keep:
            raise ConfigError(
                f"on the grid {self._grid} {block}_scale {list(scale)} can draw a block of "
                f"{height} x {width} = {height * width} tokens, and the published sampler draws "
                f"without end unless every block has more than min_keep {self._config.min_keep}; "
                f"lower min_keep or raise {block}_scale",
                "multiblock_official",
            )

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return self._config.trim_group

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T]."""
        group, own = trimmed_together(rng, self._config.trim_group)
        shape, config = self._grid.shape, self._config
        of_target, of_context = group.shared(2).tolist()
        target = block_sides(shape, config.target_scale, config.target_aspect, of_target)
        context = block_sides(shape, config.context_scale, (1.0, 1.0), of_context)

        blocks = [self._blocks(group, target) for _ in range(config.num_targets)]
        targets = np.stack(blocks, axis=1)
        visible = self._draw_contexts(group, context, targets)
        keep = int(visible.sum(axis=1).min())
        kept = self._trim(visible[own], np.empty((batch_size, 0)), keep)
        return Masks(torch.from_numpy(kept), torch.from_numpy(targets[own]))

    def _draw_contexts(self, rng: Rng, sides: tuple[int, int], targets: Ints) -> Bools:
        """Visible places [G, N] of contexts that keep more than min_keep tokens."""
        visible = visible_places(self._grid.size, self._blocks(rng, sides), targets)
        for failures in range(1, _TRIES * targets.shape[1] + 1):
            short = np.flatnonzero(visible.sum(axis=1) <= self._config.min_keep)
            if not short.size:
                break
            obeyed = targets.shape[1] - failures // _TRIES
            # Whole rows are drawn, so that a sample's numbers depend on no other sample.
            context = self._blocks(rng, sides)[short]
            visible[short] = visible_places(self._grid.size, context, targets[short, :obeyed])
        return visible

    def _blocks(self, rng: Rng, sides: tuple[int, int]) -> Ints:
        """Indices [G, T] of blocks whose corner is uniform over all but the last that fit."""
        room = np.array(self._grid.shape) - np.array(sides)
        corners: Ints = (rng.rows(2).numpy() * room).astype(np.int64) @ self._strides
        return corners[:, None] + block_offsets(self._grid.shape, np.array(sides))


def block_sides(
    shape: tuple[int, ...],
    scale: tuple[float, float],
    aspect: tuple[float, float],
    uniform: float,
) -> tuple[int, int]:
    """Height and width of a block; one uniform in [0, 1) sets scale and aspect."""
    area = int(math.prod(shape) * (scale[0] + uniform * (scale[1] - scale[0])))
    ratio = aspect[0] + uniform * (aspect[1] - aspect[0])
    height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    return min(height, shape[0] - 1), min(width, shape[1] - 1)


def drawable_sides(
    shape: tuple[int, ...], scale: tuple[float, float], aspect: tuple[float, float]
) -> set[tuple[int, int]]:
    """Every height and width that some uniform in [0, 1) draws.

    The sides are constant between the uniforms at which the area, the height or the width jumps,
    so one uniform from each interval finds them all.
    """
    size = math.prod(shape)
    jumps = {0.0, 1.0}
    for area in range(int(size * scale[0]), int(size * scale[1]) + 1):
        jumps.add(_where(area / size, scale))
        for side in range(1, max(shape) + 1):
            jumps.add(_where((side - 0.5) ** 2 / max(area, 1), aspect))
            jumps.add(_where(max(area, 1) / (side - 0.5) ** 2, aspect))
    inside = sorted(u for u in jumps if 0 <= u <= 1)
    middles = [(low + high) / 2 for low, high in pairwise(inside)]
    return {block_sides(shape, scale, aspect, uniform) for uniform in [0.0, *middles]}


def _where(value: float, bounds: tuple[float, float]) -> float:
    """The uniform that draws `value` from `bounds`; outside [0, 1] where none does."""
    low, high = bounds
    return (value - low) / (high - low) if high > low else -1.0
