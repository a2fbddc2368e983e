"""Where the model's predictions are wrong."""

from __future__ import annotations

import torch
from einops import repeat
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.grid import Grid
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.hidden import block_sides, normalised_targets, predictions, tiles
from jepa.evaluation.seeing.subject import Subject

TITLE = "Which places can the model not guess from the rest?"
READING = (
    "Every place was hidden once or more, in blocks as large as the orange one, and predicted from "
    "all that was left. Below: how far the prediction was from the truth, alone and laid over the "
    "input. Dark places are predicted well, bright ones are a surprise; 1 is as bad as always "
    "answering with the average representation."
)


def energy(subject: Subject) -> Tensor:
    """Error of prediction of every token of the inputs shown: [B, N].

    The mean square distance of prediction and normalised target, over all blocks of `tiles` that
    hold the token, in units of the targets' variance over the bank: 1 is what the mean of the bank
    would reach.
    """
    shown, bank = normalised_targets(subject)
    sides = block_sides(subject.built.samplers[0], subject.grid, subject.seed)
    variance = (bank - bank.mean((0, 1))).square().mean().clamp(min=1e-12)
    total, count = torch.zeros(shown.shape[:2]), torch.zeros(shown.shape[:2])
    for block in tiles(subject.grid, sides):
        hidden = repeat(block, "T -> B T", B=len(shown))
        predicted = predictions(subject, subject.shown.loaded, hidden)
        error = (predicted - shown[:, block]).square().mean(-1)
        total[:, block] += error
        count[:, block] += 1
    return total / count / variance


def energy_sheet(subject: Subject) -> Figure:
    """One column an input: it, its errors of prediction, and these laid over it."""
    grid, shown = subject.grid, subject.shown
    values = energy(subject)
    scale = Scale(0.0, max(1.0, float(values.quantile(0.99))), "inferno")
    figure, cells = drawing.make(3, len(shown), shown.pictures, TITLE, READING, extra=1.0)
    sides = block_sides(subject.built.samplers[0], grid, subject.seed)
    for place, (above, below, over) in enumerate(cells.T):
        drawing.show(above, shown.pictures[place], grid)
        drawing.heat(below, values[place], grid, scale)
        drawing.show(over, drawing.grey(shown.pictures[place]), grid)
        drawing.heat(over, values[place], grid, scale, opacity=0.6)
        above.set_title(shown.names[place], fontsize=10)
    drawing.outline(cells[0, 0], _first_block(grid, sides), grid, drawing.ORANGE, 1.5)
    cells[0, 0].set_ylabel("input", fontsize=10)
    cells[1, 0].set_ylabel("error", fontsize=10)
    cells[2, 0].set_ylabel("error over input", fontsize=10)
    drawing.bar(figure, cells[1:], scale, "prediction error\n(1: the average as an answer)")
    return figure


def _first_block(grid: Grid, sides: tuple[int, ...]) -> list[int]:
    """The block in the middle of `tiles`, to show how large they are."""
    blocks = tiles(grid, sides)
    found: list[int] = blocks[len(blocks) // 2].tolist()
    return found
