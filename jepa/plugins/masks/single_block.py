"""One block as the target (the ablation of I-JEPA, arXiv 2301.08243, table 6)."""

from __future__ import annotations

from typing import final

import attrs
import torch

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import positive_range, scale_range
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import SizeTable, block_offsets, corners, sides_text
from jepa.plugins.masks.regions import refuse_many_axes, union
from jepa.plugins.masks.trim import places_of


@final
class SingleBlock(MaskSampler):
    """One target block (M = 1), and all other tokens as the context.

    Its size is drawn once a step, its place once a sample, uniform over all corners at which it
    fits.

    Raises:
        ConfigError: some block that can be drawn covers this grid.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the default scale is that of the paper's ablation."""

        target_scale: tuple[float, float] = attrs.field(default=(0.6, 0.6), validator=scale_range)
        """Tokens of the block, as a share of the grid's."""
        target_aspect: tuple[float, float] = attrs.field(
            default=(0.75, 1.5), validator=positive_range
        )
        """Height to width of the block, relative to the grid's (see `SizeTable`)."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "block")
        self._grid = grid
        self._sizes = SizeTable(grid.shape, config.target_scale, config.target_aspect)
        largest = max(self._sizes.distinct, key=lambda sides: int(sides.prod()))
        if largest.prod() == grid.size:
            raise ConfigError(
                f"on the grid {grid} target_scale {list(config.target_scale)} can draw a block of "
                f"{sides_text(largest)}, which leaves no context; lower target_scale",
                "block",
            )

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, 1, T]."""
        shape, size = self._grid.shape, self._grid.size
        sides = self._sizes.pick(rng.shared(self._grid.ndim).numpy())
        corner = corners(shape, sides, rng.rows(self._grid.ndim).numpy())
        target = corner[:, None] + block_offsets(shape, sides)
        context = places_of(~union(size, target), size - target.shape[1])
        return Masks(torch.from_numpy(context), torch.from_numpy(target[:, None]))
