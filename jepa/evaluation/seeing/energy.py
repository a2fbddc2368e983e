"""Where the model's predictions are wrong."""

from __future__ import annotations

import torch
from einops import repeat
from matplotlib.figure import Figure
from torch import Tensor

from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.hidden import block_sides, normalised_targets, predictions, tiles
from jepa.evaluation.seeing.subject import Subject

TITLE = "Which places can the model not guess from the rest?"
READING = (
    "Every place was hidden once or more, in blocks of {block} places of {grid}, and predicted "
    "from all that was left. The heat maps show how far the prediction was from the truth: dark "
    "places are predicted well, bright ones are a surprise; 1 is as bad as always answering with "
    "the average representation. Outlined on the inputs: the 5% of all places with the largest "
    "errors."
)
_OUTLINED = 0.05


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
    """One column an input: it, with its worst places outlined, and all its errors."""
    grid, shown = subject.grid, subject.shown
    values = energy(subject)
    high = max(1.0, float(values.quantile(0.99)))
    scale = Scale(0.0, high, "inferno", bool((values > high).any()))
    sides = block_sides(subject.built.samplers[0], grid, subject.seed)
    reading = READING.format(block=" x ".join(map(str, sides)), grid=grid)
    figure, cells = drawing.make(2, len(shown), shown.pictures, TITLE, reading, extra=1.0)
    worst = values > values.quantile(1 - _OUTLINED)
    for place, (above, below) in enumerate(cells.T):
        drawing.show(above, shown.pictures[place], grid)
        drawing.outline(above, worst[place].nonzero().flatten().tolist(), grid, drawing.ORANGE, 0.9)
        drawing.heat(below, values[place], grid, scale)
        above.set_title(shown.names[place], fontsize=10)
    cells[0, 0].set_ylabel("input", fontsize=10)
    cells[1, 0].set_ylabel("error", fontsize=10)
    drawing.bar(figure, cells, scale, "prediction error\n(1: the average as an answer)")
    return figure
