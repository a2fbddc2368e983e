"""Outlines, covers and crops on planes of one to three axes."""

import numpy as np
import pytest
import torch

from jepa.core.grid import Grid
from jepa.core.pictures import plane
from jepa.evaluation.seeing import drawing

GRIDS = [Grid((6,), ("t",)), Grid((4, 5), ("y", "x")), Grid((3, 4, 5), ("t", "y", "x"))]


def canvas(grid):
    rows, cols = plane(grid).shape
    pictures = torch.zeros(2, 4 * rows, 4 * cols, 3, dtype=torch.uint8)
    figure, cells = drawing.make(2, 3, pictures, "A title", "How to read it. " * 20, gap_before=1)
    return figure, cells, pictures


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_everything_draws(grid, tmp_path):
    figure, cells, pictures = canvas(grid)
    assert cells.shape == (2, 3)
    scale = drawing.Scale(0.0, 1.0, "magma")
    drawing.show(cells[0, 0], pictures[0], grid)
    drawing.heat(cells[0, 1], torch.arange(grid.size) / grid.size, grid, scale)
    drawing.veil(cells[0, 2], [0, grid.size - 1], grid)
    drawing.outline(cells[1, 0], [0, 1], grid, drawing.ORANGE)
    drawing.show(cells[1, 1], pictures[0], grid)
    drawing.zoom(cells[1, 1], grid.size - 1, grid, 1)
    drawing.bar(figure, cells, scale, "a scale")
    figure.savefig(tmp_path / "a.png")
    assert drawing.said(figure) == ("A title", ("How to read it. " * 20).strip())
    values = np.asarray(cells[0, 1].images[0].get_array())
    assert values.shape == tuple(plane(grid).shape)
    assert values[-1, -1] == pytest.approx((grid.size - 1) / grid.size)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_cover_lies_on_the_hidden_tokens_alone(grid):
    _, cells, _ = canvas(grid)
    drawing.veil(cells[0, 0], [1, grid.size - 2], grid)
    covered = np.asarray(cells[0, 0].images[0].get_array())[..., 3] > 0
    side = covered.shape[1] // plane(grid).shape[1]
    whole = covered[::side, ::side]
    assert set(plane(grid).numpy()[whole].tolist()) == {1, grid.size - 2}
    assert covered.sum() == 2 * side * side


def segments(axis):
    return {tuple(map(tuple, s)) for s in axis.collections[0].get_segments()}


def test_an_outline_goes_around_neighbours_and_not_between_them():
    grid = GRIDS[1]
    _, cells, _ = canvas(grid)
    drawing.outline(cells[0, 0], [6, 7], grid, drawing.ORANGE)  # row 1, columns 1 and 2
    assert segments(cells[0, 0]) == {
        ((1, 1), (2, 1)), ((2, 1), (3, 1)), ((1, 2), (2, 2)), ((2, 2), (3, 2)),
        ((1, 1), (1, 2)), ((3, 1), (3, 2)),
    }  # fmt: skip


def test_an_outline_is_closed_in_each_slice():
    grid = GRIDS[2]
    _, cells, _ = canvas(grid)
    drawing.outline(cells[0, 0], [4, 20], grid, drawing.ORANGE)  # last of a row, first of the next
    assert len(segments(cells[0, 0])) == 7  # they share the place of one edge
    assert ((5, 0), (5, 1)) in segments(cells[0, 0])


def test_a_crop_is_around_its_token():
    _, cells, _ = canvas(GRIDS[2])
    drawing.zoom(cells[0, 0], 27, GRIDS[2], 1)  # slice 1, row 1, column 2: column 7 of the plane
    assert cells[0, 0].get_xlim() == (6, 9)
    assert cells[0, 0].get_ylim() == (3, 0)
    _, cells, _ = canvas(GRIDS[0])
    before = cells[0, 0].get_ylim()
    drawing.zoom(cells[0, 0], 3, GRIDS[0], 1)
    assert cells[0, 0].get_xlim() == (2, 5)
    assert cells[0, 0].get_ylim() == before, "one axis takes the whole height"
