"""The mask sampler `spiral`: targets are runs along a spiral, the context is what is left.

Letters as in `jepa.core`: B batch, N tokens of the grid, K context tokens, M targets of T tokens.
"""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
import torch

from jepa.core import ConfigError, Grid, Masks, MaskSampler, Rng, check, positive

_share = check("above 0, below 1", lambda value: 0 < value < 1)


@final
class Spiral(MaskSampler):
    """M targets, each T places in a row along a spiral; all other tokens are context.

    The spiral goes round from the first corner of a grid of two axes to its middle. Near the middle
    a run is a block, further out a bow or a whole ring, so one length gives targets of many shapes.

    Runs do not overlap, so every sample has K = N - M T context tokens, and nothing is trimmed. All
    arrangements of the runs are equally likely. The two ends of the spiral count as neighbours:
    every token is hidden equally often, at the price of some runs that lie partly in the corner and
    partly in the middle.

    Raises:
        ConfigError: the grid has not two axes, a run has no token, or too few are left for context.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of spiral."""

        num_targets: int = attrs.field(default=4, validator=positive)
        """Targets M."""
        target_share: float = attrs.field(default=0.15, validator=_share)
        """Tokens of one target, as a share of the grid's; rounded down."""
        min_keep: int = attrs.field(default=4, validator=positive)
        """Context tokens that must be left."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        if grid.ndim != 2:
            raise ConfigError(f"found the grid {grid}, allowed: two axes", "spiral")
        self._targets = config.num_targets
        self._length = int(config.target_share * grid.size)
        self._context = grid.size - self._targets * self._length
        if self._length < 1:
            raise ConfigError(
                f"target_share {config.target_share:g} is less than one token of the grid {grid}",
                "spiral",
            )
        if self._context < config.min_keep:
            raise ConfigError(
                f"{self._targets} targets of {self._length} tokens leave "
                f"{max(self._context, 0)} of {grid.size} tokens of the grid {grid}, and min_keep "
                f"asks for {config.min_keep}; lower num_targets or target_share",
                "spiral",
            )
        self._spiral = spiral(*grid.shape)

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T], ascending in a row."""
        # M runs and K single tokens in random order; the runs' places among them are drawn.
        order = rng.rows(self._targets + self._context).numpy().argsort(axis=1)
        drawn = np.sort(order[:, : self._targets], axis=1)  # [B, M]
        starts = drawn + np.arange(self._targets) * (self._length - 1)
        size = len(self._spiral)
        turn = (rng.rows(1).numpy() * size).astype(np.int64)  # where on the ring the order begins
        along = (starts + turn)[..., None] + np.arange(self._length)  # [B, M, T]
        targets = self._spiral[along % size]
        seen = np.ones((batch_size, size), dtype=np.bool_)
        np.put_along_axis(seen, targets.reshape(batch_size, -1), False, axis=1)
        context = np.nonzero(seen)[1].reshape(batch_size, self._context)
        return Masks(torch.from_numpy(context), torch.from_numpy(np.sort(targets, axis=2)))


def spiral(rows: int, columns: int) -> np.ndarray:
    """Places of a grid [rows, columns] in C order, from the first corner round to the middle.

    Along the first row, down the last column, back along the last row, up the first column, and so
    on one ring further in.

    Returns:
        [N] int64, each of 0 to N - 1 once; each beside the one before it.
    """
    left = np.arange(rows * columns).reshape(rows, columns)
    found: list[np.ndarray] = []
    while left.size:
        found.append(left[0])
        left = np.rot90(left[1:])  # the column that comes next lies on top
    return np.concatenate(found)
