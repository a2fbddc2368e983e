"""What the model predicts for a hidden place, shown by what it resembles elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.hidden import (
    block_sides,
    inner_blocks,
    normalised_targets,
    predictions,
)
from jepa.evaluation.seeing.subject import Subject

TITLE = "Which known places come nearest to what the model predicts?"
READING = (
    "The striped block of each input was hidden, and the model predicted a representation of one "
    "of its places (orange) from the rest. On the right: the places among {bank} other inputs "
    "whose representations come nearest to the prediction, outlined. A good prediction finds "
    "places like the true one. Numbers are cosine similarities with the prediction (1: the same "
    "direction): of the true place, of each place found, and, under the hidden block, the median "
    "of all places of the other inputs, which is what chance would give. The best of so many "
    "places may come nearer to the prediction than the truth does."
)
_MATCHES = 6
_AROUND = 2
_LONGEST = 14  # letters of a name


class Matches(NamedTuple):
    """Tokens of a bank that are nearest to each query, the nearest first.

    Attributes:
        similarity: cosines [q, k].
        inputs: place of the input in the bank, [q, k] int64; an input serves once a query.
        tokens: place of the token in its grid, [q, k] int64.
    """

    similarity: Tensor
    inputs: Tensor
    tokens: Tensor


def nearest_tokens(bank: Tensor, asked: Tensor, k: int) -> Matches:
    """The k inputs of a bank with the nearest tokens, and those tokens.

    Args:
        bank: [n, N, D].
        asked: [q, D].
        k: matches of each; n where there are fewer.
    """
    known, normal = F.normalize(bank, dim=-1), F.normalize(asked, dim=-1)
    cosines = torch.einsum("qd,nNd->qnN", normal, known)
    best, tokens = cosines.max(dim=2)
    similarity, inputs = best.topk(min(k, len(bank)), dim=1)
    return Matches(similarity, inputs, tokens.gather(1, inputs))


def chance(bank: Tensor, asked: Tensor) -> Tensor:
    """Median cosine of asked [q, D] with all tokens of a bank [n, N, D]: [q]."""
    known, normal = F.normalize(bank, dim=-1), F.normalize(asked, dim=-1)
    return torch.einsum("qd,nNd->qnN", normal, known).flatten(1).median(dim=1).values


def nearest_sheet(subject: Subject) -> Figure:
    """An input a row: its hidden block, the truth, and the nearest places of the bank."""
    grid, shown = subject.grid, subject.shown
    of_shown, bank = normalised_targets(subject)
    sides = block_sides(subject.built.samplers[0], grid, subject.seed)
    hidden = inner_blocks(grid, sides, len(shown), subject.seed)
    block = torch.arange(hidden.shape[1]).reshape(sides)
    place = int(block[tuple(side // 2 for side in sides)])
    predicted = predictions(subject, shown.loaded, hidden)[:, place]
    asked = hidden[:, place]
    truth = of_shown[torch.arange(len(shown)), asked]
    right = F.cosine_similarity(predicted, truth, dim=-1)
    matches, usual = nearest_tokens(bank, predicted, _MATCHES), chance(bank, predicted)

    reading = READING.format(bank=len(bank))
    columns = 2 + matches.inputs.shape[1]
    figure, axes = drawing.make(len(shown), columns, shown.pictures, TITLE, reading, gap_before=2)
    for row, picture, name, cover, token, cosine, level, match in zip(
        axes, shown.pictures, shown.names, hidden.tolist(), asked.tolist(), right.tolist(),
        usual.tolist(), zip(*matches, strict=True), strict=True,
    ):  # fmt: skip
        drawing.show(row[0], picture, grid)
        drawing.veil(row[0], cover, grid)
        drawing.outline(row[0], [token], grid, drawing.ORANGE)
        row[0].set_ylabel(name, fontsize=9)
        _caption(row[0], "chance", level)
        drawing.show(row[1], picture, grid)
        _mark(row[1], token, subject, drawing.ORANGE)
        _caption(row[1], "truth", cosine)
        for axis, similarity, where, found in zip(row[2:], *match, strict=True):
            drawing.show(axis, subject.bank.pictures[int(where)], grid)
            _mark(axis, int(found), subject, drawing.GREEN)
            _caption(axis, subject.bank.names[int(where)], float(similarity))
    titles = ["hidden block", "the truth", *(f"nearest {n + 1}" for n in range(columns - 2))]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    return figure


def _mark(axis: Axes, token: int, subject: Subject, colour: str) -> None:
    drawing.outline(axis, [token], subject.grid, colour)
    if max(subject.grid.shape) > 2 * _AROUND + 4:
        drawing.zoom(axis, token, subject.grid, _AROUND)


def _caption(axis: Axes, name: str, similarity: float) -> None:
    short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    rounded = round(similarity, 2) + 0.0  # without the sign of -0.0
    axis.set_xlabel(f"{short} {rounded:.2f}".lstrip(), fontsize=9, labelpad=2)
