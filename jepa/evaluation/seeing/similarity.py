"""Similarity of one token's features to those of all tokens, of its own input and of another."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.pictures import plane
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.subject import SheetError, Subject

TITLE = "Which places look alike to the model?"
READING = (
    "Two places of each input are marked, A and B. Each heat map shows how similar the features of "
    "every place are to those of the marked one: bright is similar, dark is not. The pictures on "
    "the right ask the same of another input: which of its places are like A, and which like B? "
    "Features that mean something are bright on the whole thing that a mark lies on, and dark "
    "elsewhere."
)


class Asked(NamedTuple):
    """Two tokens of an input and their similarity to all tokens.

    Attributes:
        tokens: [2] int64.
        own: cosines with the tokens of the same input, [2, N].
        other: with those of the other input, [2, N].
    """

    tokens: Tensor
    own: Tensor
    other: Tensor


def similarity(features: Tensor, others: Tensor, tokens: Tensor) -> Tensor:
    """Cosine of chosen tokens' features with those of all tokens of an input.

    Args:
        features: [N, D] of the input that the tokens lie in.
        others: [N, D] of the input to compare with.
        tokens: [q] int64.

    Returns:
        [q, N] in [-1, 1].
    """
    return F.normalize(features[tokens], dim=-1) @ F.normalize(others, dim=-1).T


def middle(grid: Grid) -> int:
    """The token in the middle of the grid."""
    index = torch.arange(grid.size).reshape(grid.shape)
    return int(index[tuple(side // 2 for side in grid.shape)])


def ask(features: Tensor, grid: Grid) -> list[Asked]:
    """For each input, the token in the middle and the one least similar to it: [B, N, D]."""
    asked = []
    for place, own in enumerate(features):
        first = torch.tensor([middle(grid)])
        least = similarity(own, own, first).argmin(dim=1)
        tokens = torch.cat([first, least])
        other = features[(place + 1) % len(features)]
        asked.append(Asked(tokens, similarity(own, own, tokens), similarity(own, other, tokens)))
    return asked


def similarity_sheet(subject: Subject) -> Figure:
    """An input a row: it, maps of A and B; another input, maps of the same A and B.

    Raises:
        SheetError: there is one input alone.
    """
    shown, grid = subject.shown, subject.grid
    if len(shown) < 2:
        raise SheetError("it compares inputs, and there is only one")
    asked = ask(subject.features(shown.loaded), grid)
    every = torch.cat([torch.cat([one.own, one.other]) for one in asked])
    scale = Scale(math.floor(10 * float(every.min())) / 10, 1.0, "magma")
    figure, cells = drawing.make(
        len(shown), 6, shown.pictures, TITLE, READING, extra=1.1, gap_before=3
    )
    for place, (row, one) in enumerate(zip(cells, asked, strict=True)):
        other = (place + 1) % len(shown)
        drawing.show(row[0], shown.pictures[place], grid)
        drawing.show(row[3], shown.pictures[other], grid)
        row[0].set_ylabel(shown.names[place], fontsize=9)
        for mark, axis in enumerate(row[[1, 2, 4, 5]]):
            values = (one.own if mark < 2 else one.other)[mark % 2]
            drawing.heat(axis, values, grid, scale)
        for token, name, colour, axis in zip(
            one.tokens.tolist(), "AB", (drawing.ORANGE, drawing.BLUE), row[1:3], strict=True
        ):
            for drawn in (row[0], axis):
                drawing.outline(drawn, [token], grid, colour)
            _letter(row[0], name, token, grid, colour)
    titles = (
        "input",
        "similar to A",
        "similar to B",
        "another input",
        "similar to A",
        "similar to B",
    )
    for axis, title in zip(cells[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    drawing.bar(figure, cells, scale, "cosine similarity of features\n(1: the same direction)")
    return figure


def _letter(axis: Axes, name: str, token: int, grid: Grid, colour: str) -> None:
    """A letter inside the token that it names."""
    row, col = (plane(grid) == token).nonzero()[0].tolist()
    axis.text(
        col + 0.5, row + 0.5, name, ha="center", va="center", color="white", fontsize=8,
        fontweight="bold", bbox={"boxstyle": "circle,pad=0.15", "color": colour},
    )  # fmt: skip
