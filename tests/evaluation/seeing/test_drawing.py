"""Outlines, covers and crops on planes of one to three axes."""

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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


def test_an_outline_covers_nothing_of_its_tokens_and_stays_on_the_picture():
    grid = Grid((4, 4), ("y", "x"))
    tokens = [0, 6, 7, 10]  # of any form, at borders too
    figure = Figure(figsize=(2, 2), dpi=100)
    axis = figure.add_axes((0.1, 0.1, 0.8, 0.8))  # a token has 40 dots
    axis.axis("off")
    drawing.show(axis, np.zeros((4, 4, 3)), grid)
    drawing.outline(axis, tokens, grid, "red")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    dots = np.asarray(canvas.buffer_rgba())[..., :3]
    inside = np.zeros((4, 4), dtype=bool)
    inside.flat[tokens] = True
    covered = np.zeros((200, 200), dtype=bool)
    covered[20:180, 20:180] = np.kron(inside, np.ones((40, 40))) > 0
    assert (dots[covered].max(1) > 200).mean() < 0.005, "black as before, up to rounding"
    red = (dots[..., 0] > 200) & (dots[..., 1] < 60)
    assert red[20:180, 20:180].sum() > 500
    off = np.ones((200, 200), dtype=bool)
    off[18:182, 18:182] = False
    assert (dots[off] == 255).all()


def test_an_outline_is_closed_in_each_slice():
    grid = GRIDS[2]
    _, cells, _ = canvas(grid)
    drawing.outline(cells[0, 0], [4, 20], grid, drawing.ORANGE)  # last of a row, first of the next
    assert len(segments(cells[0, 0])) == 7  # they share the place of one edge
    assert ((5, 0), (5, 1)) in segments(cells[0, 0])


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_a_spot_is_the_place_of_a_token(grid):
    _, cells, _ = canvas(grid)
    drawing.spot(cells[0, 0], grid.size - 2, grid, drawing.GREEN)
    (frame,) = cells[0, 0].patches
    assert plane(grid)[int(frame.get_y()), int(frame.get_x())] == grid.size - 2


def test_lines_of_a_text_are_about_as_long():
    text = "one two three four five six seven eight nine ten " * 4
    lines = drawing.even_lines(text, 60)
    assert " ".join(lines) == text.strip()
    assert len(lines) == 4
    assert min(map(len, lines)) > 0.8 * max(map(len, lines))
    assert drawing.even_lines("alone", 60) == ["alone"]
    assert drawing.even_lines("", 60) == []


def test_a_bar_says_what_is_off_its_scale():
    figure, cells, _ = canvas(GRIDS[1])
    drawing.bar(figure, cells, drawing.Scale(0.0, 2.5, "magma", clipped=True), "errors")
    assert figure.axes[-1].get_ylabel() == "errors\n(top: 2.5 or more)"


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
