"""Cells of tokens are cut from previews and pasted back."""

import numpy as np
import pytest
import torch

from jepa.core.grid import Grid
from jepa.evaluation.seeing.content import cells


def pictures(*shape):
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize(
    ("grid", "sides"),
    [
        (Grid((6,), ("t",)), (5, 12)),
        (Grid((3, 4), ("y", "x")), (12, 8)),
        (Grid((2, 3, 2), ("t", "y", "x")), (9, 8)),
    ],
    ids=str,
)
def test_pasting_what_was_cut_changes_nothing(grid, sides):
    shown = pictures(2, *sides, 3)
    cut = cells(shown, grid)
    content = cut.cut(shown)
    assert content.shape == (2, grid.size, cut.size)
    places = torch.tensor([1, grid.size - 1])
    assert torch.equal(cut.paste(shown[1], places, content[1, places]), shown[1])
    black = cut.paste(shown[1], places, torch.full((2, cut.size), -1.0))
    again = cut.cut(black[None])[0]
    assert (again[places] == -1).all()
    rest = [n for n in range(grid.size) if n not in places.tolist()]
    assert torch.equal(again[rest], content[1, rest])


def test_a_token_has_the_cell_at_its_place():
    grid = Grid((2, 3), ("y", "x"))
    shown = pictures(1, 4, 9, 3)
    content = cells(shown, grid).cut(shown)[0]
    expected = shown[0, 2:4, 3:6].flatten() / 127.5 - 1  # row 1, column 1
    torch.testing.assert_close(content[4], expected)


def test_slices_stand_side_by_side():
    grid = Grid((2, 1, 2), ("t", "y", "x"))
    shown = pictures(1, 1, 4, 3)
    content = cells(shown, grid).cut(shown)[0]
    torch.testing.assert_close(content, shown[0, 0] / 127.5 - 1)


def test_grey_stays_grey_and_fine_cells_are_averaged():
    grid = Grid((2, 2), ("y", "x"))
    grey = pictures(3, 64, 64, 1).expand(-1, -1, -1, 3)
    cut = cells(grey, grid)
    assert (cut.height, cut.width, cut.colours) == (8, 8, 1)
    drawn = cut.paste(grey[0], torch.tensor([0]), torch.linspace(-2, 2, 64)[None])
    assert drawn.shape == (16, 16, 3)
    assert (drawn == drawn[..., :1]).all()
    assert drawn[0, 0, 0] == 0
    assert drawn[7, 7, 0] == 255
    assert cells(pictures(3, 64, 64, 3), grid).colours == 3


def test_flat_and_upright_cells_keep_their_shape():
    cut = cells(pictures(1, 80, 40, 3), Grid((10,), ("t",)))
    assert (cut.height, cut.width) == (36, 2)  # of 80 x 4, averaged to about 64 dots


def test_a_picture_smaller_than_its_grid_is_enlarged():
    grid = Grid((8,), ("t",))
    shown = pictures(1, 1, 4, 3)
    assert cells(shown, grid).cut(shown).shape == (1, 8, 3)
