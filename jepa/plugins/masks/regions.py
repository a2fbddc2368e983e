"""Regions of a grid of any form, for a whole batch at once, as sets of sites.

A site is a token, or all tokens along some axes: then the grid of sites lacks these axes.

Letters as in `jepa.core.tokens`; besides: R sites, G samples drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import final

import numpy as np

from jepa.core.errors import ConfigError, Fault, one_of
from jepa.core.grid import Grid
from jepa.plugins.masks.blocks import Bools, Ints
from jepa.plugins.masks.trim import places_of

_RETRIES = 10
_MOST_AXES = 3


@final
class Sites:
    """The sites of a grid, and the tokens of each.

    Args:
        grid: of the tokens.
        through: names of the axes that a site spans; not all of the grid's.

    Attributes:
        grid: of the sites, R of them: the axes that are left.
        depth: tokens of a site.
    """

    def __init__(self, grid: Grid, through: Collection[str] = ()) -> None:
        kept = [axis for axis, name in enumerate(grid.axes) if name not in through]
        self.grid = Grid(tuple(grid.shape[k] for k in kept), tuple(grid.axes[k] for k in kept))
        self.depth = grid.size // self.grid.size
        self._site_of: Ints = np.ravel_multi_index(tuple(coords(grid)[kept]), self.grid.shape)

    def tokens(self, chosen: Bools, sites: int) -> Ints:
        """Tokens [..., sites * depth], ascending, of chosen sites [..., R], as many in each row."""
        tokens = sites * self.depth
        rows = chosen.reshape(-1, self.grid.size)[:, self._site_of]
        return places_of(rows, tokens).reshape(*chosen.shape[:-1], tokens)

    def for_tokens(self, tokens: int) -> int:
        """How many sites it takes to hold so many tokens."""
        return -(-tokens // self.depth)


def coords(grid: Grid) -> Ints:
    """Coordinates [A, N] of all tokens, by numpy: torch's may have no values (device meta)."""
    places: Ints = np.indices(grid.shape, dtype=np.int64).reshape(grid.ndim, -1)
    return places


def union(size: int, places: Ints) -> Bools:
    """Which of `size` sites are among places [G, ...]: [G, size]."""
    chosen = np.zeros((len(places), size), dtype=np.bool_)
    first = np.arange(0, chosen.size, size)
    chosen.reshape(-1)[places.reshape(len(places), -1) + first[:, None]] = True
    return chosen


def intervals(length: int, starts: Ints, width: int) -> Bools:
    """Which of `length` places lie `width` or less from starts [..., S] on: [..., S, length]."""
    after = np.arange(length) - starts[..., None]
    within: Bools = (after >= 0) & (after < width)
    return within


def draw_until(
    draw: Callable[[], Bools], last: Callable[[], Bools], enough: Callable[[Bools], Bools]
) -> Bools:
    """Regions [G, ...] of which each leaves enough.

    Args:
        draw: the regions of all samples. Samples that do not have enough draw anew, ten times.
        last: regions that always leave enough, for samples to which that does not help.
        enough: whether regions [G, ...] leave enough: [G].
    """
    drawn = draw()
    for retry in range(_RETRIES + 1):
        short = np.flatnonzero(~enough(drawn))
        if not short.size:
            break
        # Whole rows are drawn, so that a sample's numbers depend on no other sample.
        drawn[short] = (draw() if retry < _RETRIES else last())[short]
    return drawn


def refuse_many_axes(grid: Grid, sampler: str) -> None:
    """Samplers know grids of 1 to 3 axes.

    Raises:
        ConfigError: the grid has more.
    """
    if grid.ndim > _MOST_AXES:
        raise ConfigError(f"found the grid {grid}, allowed: 1 to {_MOST_AXES} axes", sampler)


def axes_named(grid: Grid, names: Collection[str], setting: str, sampler: str) -> list[int]:
    """The grid's axes that a setting names, in the grid's order.

    Raises:
        ConfigError: the grid has no axis of such a name.
    """
    for name in names:
        if name not in grid.axes:
            found = one_of(name, grid.axes)
            raise ConfigError(Fault(setting, f"on the grid {grid} {found}"), sampler)
    return [axis for axis, name in enumerate(grid.axes) if name in names]
