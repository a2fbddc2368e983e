"""Multi-block masks as the I-JEPA paper means them (arXiv 2301.08243)."""

from __future__ import annotations

from typing import Literal, NamedTuple

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import positive, positive_range, scale_range
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import (
    Bools,
    Ints,
    SizeTable,
    block_offsets,
    corners,
    most_visible,
    sides_text,
    strides,
    visible_places,
)
from jepa.plugins.masks.trim import Side, Subset, Trim, trimmed_together

_TRIMS: dict[str, type[Trim]] = {"subset": Subset, "side": Side}
_RETRIES = 10


class _Sizes(NamedTuple):
    """Sides [A] of the blocks of one step, and their tokens less their corner [C] and [T]."""

    context: Ints
    target: Ints
    context_offsets: Ints
    target_offsets: Ints


class _Places(NamedTuple):
    """Flat indices of the corners: context [G], targets [G, M]."""

    context: Ints
    targets: Ints


class Multiblock(MaskSampler):
    """M target blocks, and one context block minus their union.

    Sizes are drawn once a step, scale and aspect by independent uniforms (see `SizeTable`); places
    once a sample, uniform over all corners at which the block fits, the last row and column
    included. Targets may overlap each other, never the context.

    A sample left with too few context tokens gets new places, up to ten times. Should that fail,
    its context goes to a random corner of the grid and all its targets to the opposite one. No
    places leave more context than these (`most_visible`), and the constructor refuses settings of
    which any sizes leave too little even so. So sampling ends, and every promise holds.

    Contexts are trimmed to the length of the shortest of their `trim_group`, or to `keep`.

    Raises:
        ConfigError: settings that this grid cannot satisfy, with the numbers that clash.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the defaults are the paper's."""

        num_targets: int = attrs.field(default=4, validator=positive)
        """Target blocks M of a sample."""
        target_scale: tuple[float, float] = attrs.field(default=(0.15, 0.2), validator=scale_range)
        """Tokens of a target block, as a share of the grid's."""
        target_aspect: tuple[float, float] = attrs.field(
            default=(0.75, 1.5), validator=positive_range
        )
        """Height to width of a target block, relative to the grid's (see `SizeTable`)."""
        context_scale: tuple[float, float] = attrs.field(default=(0.85, 1.0), validator=scale_range)
        """Tokens of the context block before targets are taken out, as a share of the grid's."""
        context_aspect: tuple[float, float] = attrs.field(
            default=(1.0, 1.0), validator=positive_range
        )
        min_keep: int = attrs.field(default=10, validator=positive)
        """Context tokens that every sample keeps at least."""
        trim: Literal["subset", "side"] = "subset"
        """What stays of a context that is too long: a random subset, or a contiguous run from a
        random side of the grid."""
        trim_group: int | None = attrs.field(default=None, validator=positive)
        """Places of the global batch that are trimmed to one length; None: all of them."""
        keep: int | None = attrs.field(default=None, validator=positive)
        """Context tokens K of every sample, the same at every step; None: as many as the shortest
        context of the trim group has."""

        def __attrs_post_init__(self) -> None:
            if self.keep is not None and self.keep < self.min_keep:
                raise ConfigError(f"keep {self.keep} is below min_keep {self.min_keep}")

    def __init__(self, config: Config, *, grid: Grid) -> None:
        if grid.ndim > 3:
            raise ConfigError(f"found the grid {grid}, allowed: 1 to 3 axes", "multiblock")
        self._config = config
        self._grid = grid
        self._strides = strides(grid.shape)
        self._contexts = SizeTable(grid.shape, config.context_scale, config.context_aspect)
        self._targets = SizeTable(grid.shape, config.target_scale, config.target_aspect)
        self._least = config.min_keep if config.keep is None else config.keep
        self._trim = _TRIMS[config.trim](grid)
        self._refuse_impossible()

    def _refuse_impossible(self) -> None:
        contexts, targets = self._contexts.distinct, self._targets.distinct
        most = most_visible(self._grid.shape, contexts[:, None], targets[None])
        context, target = np.unravel_index(int(most.argmin()), most.shape)
        if most[context, target] < self._least:
            name = "min_keep" if self._config.keep is None else "keep"
            raise ConfigError(
                f"on the grid {self._grid} a context block of {sides_text(contexts[context])} "
                f"(context_scale {list(self._config.context_scale)}) and target blocks of "
                f"{sides_text(targets[target])} (target_scale {list(self._config.target_scale)}) "
                f"leave at most {most[context, target]} context tokens, wherever they lie, and "
                f"{name} asks for {self._least}; lower {name} or target_scale, or raise "
                "context_scale",
                "multiblock",
            )

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return self._config.trim_group

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T]."""
        keep = self._config.keep
        # Draws go from what a change of settings disturbs least to what it disturbs most: a run
        # with more targets shares its sizes, contexts and first targets with a run with fewer.
        trims = rng.rows(self._trim.draws).numpy()
        group, own = rng, slice(None)
        if keep is None:
            group, own = trimmed_together(rng, self._config.trim_group)
        sizes = self._draw_sizes(group)
        places, visible = self._draw_enough(group, sizes)
        if keep is None:
            keep = int(visible.sum(axis=1).min())
        context = self._trim(visible[own], trims, keep)
        targets = places.targets[own][:, :, None] + sizes.target_offsets
        return Masks(torch.from_numpy(context), torch.from_numpy(targets))

    def _draw_sizes(self, rng: Rng) -> _Sizes:
        uniforms = rng.shared(2 * self._grid.ndim).numpy()
        context = self._contexts.pick(uniforms[: self._grid.ndim])
        target = self._targets.pick(uniforms[self._grid.ndim :])
        shape = self._grid.shape
        return _Sizes(context, target, block_offsets(shape, context), block_offsets(shape, target))

    def _draw_enough(self, rng: Rng, sizes: _Sizes) -> tuple[_Places, Bools]:
        """Places that leave every sample enough context, and their visible places [G, N]."""
        places = self._draw_places(rng, sizes)
        visible = self._visible(places, sizes)
        for retry in range(_RETRIES + 1):
            short = np.flatnonzero(visible.sum(axis=1) < self._least)
            if not short.size:
                break
            # Whole rows are drawn, so that a sample's numbers depend on no other sample.
            again = self._draw_places(rng, sizes) if retry < _RETRIES else self._apart(rng, sizes)
            again = _Places(again.context[short], again.targets[short])
            places.context[short], places.targets[short] = again
            visible[short] = self._visible(again, sizes)
        return places, visible

    def _draw_places(self, rng: Rng, sizes: _Sizes) -> _Places:
        context = self._corners(rng, sizes.context)
        targets = [self._corners(rng, sizes.target) for _ in range(self._config.num_targets)]
        return _Places(context, np.stack(targets, axis=1))

    def _corners(self, rng: Rng, sides: Ints) -> Ints:
        """Flat corners [G], uniform over all that leave room for the sides."""
        return corners(self._grid.shape, sides, rng.rows(len(sides)).numpy())

    def _apart(self, rng: Rng, sizes: _Sizes) -> _Places:
        """Each context in a random corner of the grid, all its targets in the opposite one."""
        far = rng.rows(self._grid.ndim).numpy() < 0.5
        shape = np.array(self._grid.shape)
        context = np.where(far, shape - sizes.context, 0) @ self._strides
        target = np.where(far, 0, shape - sizes.target) @ self._strides
        return _Places(context, np.repeat(target[:, None], self._config.num_targets, axis=1))

    def _visible(self, places: _Places, sizes: _Sizes) -> Bools:
        return visible_places(
            self._grid.size,
            places.context[:, None] + sizes.context_offsets,
            places.targets[:, :, None] + sizes.target_offsets,
        )
