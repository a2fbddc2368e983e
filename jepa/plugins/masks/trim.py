"""How contexts of different lengths become one rectangle: which K tokens of each sample stay."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.plugins.masks.blocks import Bools, Floats, Ints


class Trim(ABC):
    """Chooses tokens. `draws` is how many uniforms it needs for a sample."""

    draws: int

    @abstractmethod
    def __init__(self, grid: Grid) -> None: ...

    @abstractmethod
    def __call__(self, visible: Bools, uniforms: Floats, keep: int) -> Ints:
        """Indices [B, keep], ascending, of visible places [B, N]; uniforms [B, draws].

        Every row of `visible` must hold at least `keep` places.
        """


class Subset(Trim):
    """A random subset, each as likely as any other: no side of the grid is favoured."""

    def __init__(self, grid: Grid) -> None:
        self.draws = grid.size
        self._places = np.arange(grid.size)
        self._high_bits = -(1 << grid.size.bit_length())

    def __call__(self, visible: Bools, uniforms: Floats, keep: int) -> Ints:
        """Keep the `keep` visible places of the smallest uniforms."""
        return places_of(self.chosen(visible, uniforms, keep), keep)

    def chosen(self, visible: Bools, uniforms: Floats, keep: int) -> Bools:
        """The same as [B, N], with `keep` places in each row."""
        # Bits of floats above 0 order as the floats do. The lowest hold the place, so that no two
        # keys are equal and a threshold keeps exactly as many as asked for.
        keys = uniforms.view(np.int64) & self._high_bits
        keys |= self._places
        keys[~visible] = np.iinfo(np.int64).max
        last = np.partition(keys, keep - 1, axis=1)[:, keep - 1]
        kept: Bools = keys <= last[:, None]
        return kept


class Side(Trim):
    """A run that starts at a random one of the grid's 2A sides and goes on plane by plane.

    On (y, x) that is row by row from the top or the bottom, or column by column from the left or
    the right. What is cut off is the far side, so the middle is kept oftener than the edges; no
    edge loses more than its opposite.
    """

    draws = 1

    def __init__(self, grid: Grid) -> None:
        places = np.arange(grid.size).reshape(grid.shape)
        forward = [np.moveaxis(places, axis, 0).reshape(-1) for axis in range(grid.ndim)]
        self._orders: Ints = np.stack([*forward, *(order[::-1] for order in forward)])

    def __call__(self, visible: Bools, uniforms: Floats, keep: int) -> Ints:
        """Keep the first `keep` visible places, counted from the side that the uniform picks."""
        side = (uniforms[:, 0] * len(self._orders)).astype(np.int64)
        order = self._orders[side]
        rank = np.cumsum(np.take_along_axis(visible, order, axis=1), axis=1)
        within = np.empty_like(visible)
        np.put_along_axis(within, order, rank <= keep, axis=1)
        return places_of(visible & within, keep)


class Start(Trim):
    """The first tokens in raster order, so that only the end of the grid is thrown away."""

    draws = 0

    def __init__(self, grid: Grid) -> None:
        """Nothing to prepare."""

    def __call__(self, visible: Bools, uniforms: Floats, keep: int) -> Ints:
        """Keep the first `keep` visible places."""
        return places_of(visible & (np.cumsum(visible, axis=1) <= keep), keep)


def trimmed_together(rng: Rng, group: int | None) -> tuple[Rng, slice]:
    """All places that are trimmed with those of `rng` (None: the global batch), and its own part.

    Raises:
        ValueError: the places of `rng` cross the border of a group.
    """
    return rng.window(group or rng.global_batch or rng.start + rng.batch_size)


def places_of(chosen: Bools, keep: int) -> Ints:
    """Indices [B, keep], ascending, of chosen places [B, N] with `keep` in each row."""
    batch, size = chosen.shape
    return np.flatnonzero(chosen).reshape(batch, keep) - np.arange(0, batch * size, size)[:, None]
