"""Blocks that span whole axes, predicted together (V-JEPA, arXiv 2404.08471, section 3)."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import check, positive, positive_range, scale_range
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import Bools, Ints, SizeTable, block_offsets, corners, sides_text
from jepa.plugins.masks.regions import Sites, axes_named, draw_until, refuse_many_axes, union
from jepa.plugins.masks.trim import Subset, trimmed_together


@final
class Tube(MaskSampler):
    """The union of blocks as the one target (M = 1), and its complement as the context.

    Blocks lie on the grid without the axes `through`, and span these axes whole. They may overlap.
    Their size is drawn once a step, their places once a sample, uniform over all corners at which
    they fit.

    A sample left with too few context tokens gets new places, up to ten times. Should that fail,
    all its blocks go to one place. Nothing leaves more context than that, and the constructor
    refuses settings of which any size leaves too little even so.

    Unions differ in size. So contexts, and targets, are trimmed to the length of the shortest of
    their `trim_group` by a random subset of whole tubes, which favours no side. (The published code
    cuts in raster order, which loses the end of the first axis.) One unlucky sample sets the length
    of its group, so large groups keep far fewer tokens than a sample has.

    Raises:
        ConfigError: settings that this grid cannot satisfy, with the numbers that clash.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the defaults are V-JEPA's short-range masks, but for `through` and `trim_group`
        (24 there, the batch of a process)."""

        through: tuple[str, ...] = attrs.field(
            default=(), validator=check("axes, each once", lambda v: len(set(v)) == len(v))
        )
        """Axes that each block spans from end to end; V-JEPA's [t]. By default, none."""
        num_targets: int = attrs.field(default=8, validator=positive)
        """Blocks whose union is the target."""
        target_scale: tuple[float, float] = attrs.field(default=(0.15, 0.15), validator=scale_range)
        """Tokens of a block, as a share of the grid's."""
        target_aspect: tuple[float, float] = attrs.field(
            default=(0.75, 1.5), validator=positive_range
        )
        """Height to width of a block, relative to the grid's (see `SizeTable`)."""
        min_keep: int = attrs.field(default=10, validator=positive)
        """Context tokens that every sample keeps at least."""
        trim_group: int | None = attrs.field(default=None, validator=positive)
        """Places of the global batch that are trimmed to one length; None: all of them."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "tube")
        if len(axes_named(grid, config.through, "through", "tube")) == grid.ndim:
            raise ConfigError(
                Fault("through", f"found all axes of the grid {grid}, allowed: all but one"), "tube"
            )
        self._config = config
        self._sites = Sites(grid, config.through)
        self._shape, self._size = self._sites.grid.shape, self._sites.grid.size
        self._sizes = SizeTable(self._shape, config.target_scale, config.target_aspect)
        self._subset = Subset(self._sites.grid)
        self._least = self._sites.for_tokens(config.min_keep)
        self._refuse_impossible(grid)

    def _refuse_impossible(self, grid: Grid) -> None:
        largest = max(self._sizes.distinct, key=lambda sides: int(sides.prod()))
        left = self._size - int(largest.prod())
        if left < self._least:
            through = f" through {', '.join(self._config.through)}" if self._config.through else ""
            raise ConfigError(
                f"on the grid {grid} blocks of {sides_text(largest)}{through} (target_scale "
                f"{list(self._config.target_scale)}) leave at most {left * self._sites.depth} "
                f"context tokens, wherever they lie, and min_keep asks for "
                f"{self._config.min_keep}; lower min_keep or target_scale",
                "tube",
            )

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return self._config.trim_group

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, 1, T]."""
        # No site is context and target, so one row of uniforms trims both.
        trims = rng.rows(self._size).numpy()
        group, own = trimmed_together(rng, self._config.trim_group)
        hidden = self._draw_hidden(group)
        sizes = hidden.sum(axis=1)
        target = self._trimmed(hidden[own], trims, int(sizes.min()))
        context = self._trimmed(~hidden[own], trims, self._size - int(sizes.max()))
        return Masks(torch.from_numpy(context), torch.from_numpy(target[:, None]))

    def _trimmed(self, sites: Bools, uniforms: np.ndarray, keep: int) -> Ints:
        return self._sites.tokens(self._subset.chosen(sites, uniforms, keep), keep)

    def _draw_hidden(self, rng: Rng) -> Bools:
        """Sites [G, R] that are target, few enough in every sample."""
        sides = self._sizes.pick(rng.shared(len(self._shape)).numpy())
        offsets = block_offsets(self._shape, sides)

        def draw(blocks: int) -> Bools:
            drawn = [rng.rows(len(sides)).numpy() for _ in range(blocks)]
            places = np.stack([corners(self._shape, sides, each) for each in drawn], axis=1)
            return union(self._size, places[..., None] + offsets)

        return draw_until(
            lambda: draw(self._config.num_targets),
            lambda: draw(1),
            lambda hidden: self._size - hidden.sum(axis=1) >= self._least,
        )
