"""Masks over pictures, on grids of one, two and three axes."""

import math

import pytest
import torch
from einops import repeat

from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.pictures import enlarge, overlay, pictured, sheet
from jepa.core.tokens import Masks

GREY = 200


def grey(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.full((batch, height, width, 3), GREY, dtype=torch.uint8)


def states(picture: torch.Tensor, rows: int, cols: int) -> list[str]:
    """c, t or h for the centre of each cell, row by row."""
    found = []
    for row in range(rows):
        for col in range(cols):
            y = (2 * row + 1) * picture.shape[0] // (2 * rows)
            x = (2 * col + 1) * picture.shape[1] // (2 * cols)
            r, g, b = picture[y, x].tolist()
            plain, dark = (r, g, b) == (GREY,) * 3, r == g == b < GREY
            found.append("c" if plain else "h" if dark else "t")
    return found


def masks(context: list[int], *blocks: list[int]) -> Masks:
    return Masks(torch.tensor([context]), torch.tensor([list(blocks)]))


@pytest.mark.parametrize(
    ("grid", "plane"),
    [
        (Grid((6,), ("t",)), [[0, 1, 2, 3, 4, 5]]),
        (Grid((2, 3), ("y", "x")), [[0, 1, 2], [3, 4, 5]]),
        (Grid((2, 2, 3), ("t", "y", "x")), [[0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11]]),
    ],
)
def test_tokens_lie_where_the_grid_says(grid, plane):
    rows, cols = len(plane), len(plane[0])
    picture = overlay(grey(1, 12, 24), grid, masks([0, 4], [1, 5], [1, 2]))[0]
    said = {0: "c", 4: "c", 1: "t", 5: "t", 2: "t"}
    assert states(picture, rows, cols) == [said.get(n, "h") for line in plane for n in line]


def test_hidden_black_differs_from_seen_black():
    black = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    picture = overlay(black, Grid((3,), ("t",)), masks([0], [1]))[0]
    assert picture[:, :42].max() == 0
    assert picture[:, 86:].max() > 50


def test_sides_that_the_grid_does_not_divide():
    picture = overlay(grey(1, 7, 5), Grid((3, 2), ("y", "x")), masks([0], [5]))[0]
    assert states(picture, 3, 2) == ["c", "h", "h", "h", "h", "t"]


def test_blocks_have_colours_that_mix_where_they_overlap():
    picture = overlay(grey(1, 1, 4), Grid((4,), ("t",)), masks([3], [0, 1], [1, 2]))[0]
    first, both, second = (picture[0, i * 32].float() for i in range(3))
    assert not torch.equal(first, second)
    assert torch.allclose(both, (first + second) / 2, atol=1)


def test_each_sample_has_its_own_masks():
    both = Masks(torch.tensor([[0], [1]]), torch.tensor([[[1]], [[0]]]))
    pictures = overlay(grey(2, 4, 4), Grid((2,), ("t",)), both)
    assert [states(picture, 1, 2) for picture in pictures] == [["c", "t"], ["t", "c"]]


@pytest.mark.parametrize(("side", "large"), [(28, 112), (128, 128), (100, 100), (500, 500)])
def test_only_small_pictures_grow(side, large):
    assert enlarge(grey(2, side, side // 2)).shape == (2, large, large // 2, 3)


def test_sheet_lays_samples_in_rows():
    left, right = grey(2, 10, 20), grey(2, 10, 20) // 2
    page = sheet([left, right], gap=3)
    assert page.shape == (2 * 13 + 3, 2 * 23 + 3, 3)
    assert page[0].eq(255).all()
    assert page[-1].eq(255).all()
    assert page[5, 5].tolist() == [GREY] * 3
    assert page[20, 30].tolist() == [GREY // 2] * 3


class Strips:
    """A modality of strips whose slices are 0, 1, 2, ... in brightness."""

    def __init__(self, *places: int) -> None:
        self.spec = InputSpec((1, *places, 4, 3), (*"abc"[: len(places)], "y", "x"))

    def preview(self, inputs):
        slices = torch.arange(math.prod(self.spec.shape[1:-2]), dtype=torch.uint8)
        return repeat(slices, "n -> b h (n w) c", b=len(inputs), h=4, w=3, c=3)


@pytest.mark.parametrize(
    ("places", "tokens", "kept"),
    [
        ((6,), (6,), [0, 1, 2, 3, 4, 5]),
        ((6,), (3,), [0, 2, 4]),
        ((7,), (3,), [0, 2, 4]),  # the last is in no token
        ((6,), (1,), [0]),
        ((2, 4), (2, 2), [0, 2, 4, 6]),
        ((2, 4), (1, 4), [0, 1, 2, 3]),
    ],
)
def test_a_token_that_spans_several_slices_shows_its_first(places, tokens, kept):
    grid = Grid((*tokens, 2, 3), (*"abc"[: len(tokens)], "y", "x"))
    picture = pictured(Strips(*places), torch.zeros(2, 1), grid)
    assert picture.shape == (2, 4, 3 * len(kept), 3)
    assert picture[1, 2, ::3, 0].tolist() == kept


def test_pictures_on_a_plane_stay_as_they_are():
    grid = Grid((2, 3), ("y", "x"))
    assert pictured(Strips(), torch.zeros(1, 1), grid).shape == (1, 4, 3, 3)
