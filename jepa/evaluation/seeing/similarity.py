"""Similarity of one token's features to those of all tokens, of its own input and of another."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.pictures import plane
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.content import cells
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.subject import SheetError, Subject

TITLE = "Which places look alike to the model?"
READING = (
    "Two places of each input are marked: A is the one whose content varies most (the very middle "
    "does not count), B the one whose features are least like A's. Each heat map shows how similar "
    "the features of every place are to those of the mark: red is similar, white has nothing in "
    "common, blue is opposite. The maps on the right ask the same of another input: which of its "
    "places are like A, and which like B? Features that mean something are red on all things of "
    "the mark's kind, wherever they lie. Red around the dashed frame, the same spot in the other "
    "input, without such a thing there, means position."
)
_SCALE = Scale(-1.0, 1.0, "RdBu_r")


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


def liveliest(pictures: Tensor, grid: Grid) -> Tensor:
    """The token of each picture whose content varies most: uint8 [B, H, W, 3] -> [B] int64.

    A place in the middle of most inputs could not tell content from position; so it is passed over.
    """
    cut = cells(pictures, grid)
    content = rearrange(cut.cut(pictures), "B N (d c) -> B N d c", c=cut.colours)
    varies = content.var(dim=2, correction=0).sum(-1)  # a flat colour does not vary
    if grid.size > 1:
        varies[:, middle(grid)] = -1.0
    return varies.argmax(dim=1)


def ask(features: Tensor, marks: Tensor) -> list[Asked]:
    """For each input [B, N, D], its token A of `marks` [B], and B, the one least similar to A."""
    asked = []
    for place, own in enumerate(features):
        first = marks[place : place + 1]
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
    asked = ask(subject.features(shown.loaded), liveliest(shown.pictures, grid))
    figure, axes = drawing.make(
        len(shown), 6, shown.pictures, TITLE, READING, extra=1.1, gap_before=3
    )
    for place, (row, one) in enumerate(zip(axes, asked, strict=True)):
        other = (place + 1) % len(shown)
        drawing.show(row[0], shown.pictures[place], grid)
        drawing.show(row[3], shown.pictures[other], grid)
        row[0].set_ylabel(shown.names[place], fontsize=9)
        row[3].set_ylabel(shown.names[other], fontsize=9)
        for mark, (token, name, colour) in enumerate(
            zip(one.tokens.tolist(), "AB", ("black", drawing.GREEN), strict=True)
        ):
            drawing.heat(row[1 + mark], one.own[mark], grid, _SCALE)
            drawing.heat(row[4 + mark], one.other[mark], grid, _SCALE)
            drawing.outline(row[0], [token], grid, colour, 1.2)
            _letter(row[0], name, token, grid, colour)
            drawing.outline(row[1 + mark], [token], grid, colour, 1.2)
            drawing.spot(row[4 + mark], token, grid, colour)
    titles = ("input", "similar to A", "similar to B")
    for axis, title in zip(axes[0], (*titles, "another input", *titles[1:]), strict=True):
        axis.set_title(title, fontsize=10)
    drawing.bar(figure, axes, _SCALE, "cosine similarity of features\n(1: the same direction)")
    return figure


def _letter(axis: Axes, name: str, token: int, grid: Grid, colour: str) -> None:
    """A letter beside the token that it names, on the side where there is more room."""
    laid = plane(grid)
    row, col = (laid == token).nonzero()[0].tolist()
    left = 2 * col >= laid.shape[1]
    axis.annotate(
        name, (col if left else col + 1, row + 0.5), (-5 if left else 5, 0),
        textcoords="offset points", ha="right" if left else "left", va="center", color="white",
        fontsize=7, fontweight="bold", bbox={"boxstyle": "square,pad=0.1", "color": colour},
    )  # fmt: skip
