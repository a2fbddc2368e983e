from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jepa.core.errors import JepaError
from jepa.core.grid import Grid


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_coordinates_are_in_c_order(shape):
    grid = Grid(tuple(shape), tuple(f"a{i}" for i in range(len(shape))))
    expected = list(itertools.product(*map(range, shape)))
    assert grid.coords().tolist() == [list(place) for place in expected]
    assert grid.coords().dtype == torch.int64
    assert (grid.size, grid.ndim) == (len(expected), len(shape))


def test_grids_are_values():
    grid = Grid((2, 3), ("y", "x"))
    assert grid == Grid((2, 3), ("y", "x"))
    assert len({grid, Grid((2, 3), ("y", "x")), Grid((2, 3), ("t", "x"))}) == 2
    assert str(grid) == "2 x 3 (y, x)"


@pytest.mark.parametrize(
    ("shape", "axes"),
    [((), ()), ((2,), ("y", "x")), ((2, 3), ("y", "y")), ((2, 0), ("y", "x")), ((-1,), ("t",))],
)
def test_what_is_no_grid_is_refused(shape, axes):
    with pytest.raises(JepaError, match="grid: "):
        Grid(shape, axes)
