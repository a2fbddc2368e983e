"""The paper's figure: predicted blocks decoded to content, several times with different noise.

I-JEPA (arXiv 2301.08243), section "Predictor Visualizations", after RCDM (arXiv 2112.09164). The
paper's decoder gets the mean of the predictions over the block; this one gets the prediction of
each token, since where things lie in the block is part of what the model predicts.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.data.workers import resolve_workers
from jepa.core.grid import Grid
from jepa.core.pictures import plane
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.content import Cells, cells
from jepa.evaluation.seeing.decoder import Pairs, train_decoder
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.hidden import block_sides, inner_blocks, predictions
from jepa.evaluation.seeing.subject import Subject, load_inputs

TITLE = "What might be behind the block?"
READING = (
    "A block of each input was hidden (striped), and the model predicted a representation of it "
    "from the rest. A decoder that sees that prediction alone, and none of the input, draws what "
    "might be there; each guess begins with other noise. What all guesses share comes from the "
    "prediction, or is common to most blocks. On the right, the block enlarged: the standard "
    "deviation over {all} guesses, of which {some} are shown. It holds both what the model does "
    "not know and the decoder's own noise: compare places and rows by it, and do not take its size "
    "for the model's doubt."
)
_GUESSES = 5
_SPREAD_OVER = 32
_INPUTS = 4096
_BLOCKS_EACH = 2
_CHUNK = 512
_FLOATS = 2**26


def decoded_sheet(
    subject: Subject, steps: int, told: Callable[[int], None] = lambda step: None
) -> Figure:
    """An input a row: it, its hidden block, guesses, and how far guesses differ.

    Args:
        subject: to draw.
        steps: of training the decoder.
        told: is called after each of them with its number.
    """
    shown, grid = subject.shown, subject.grid
    sides = block_sides(subject.built.samplers[0], grid, subject.seed)
    cut = cells(torch.cat([subject.bank.pictures, shown.pictures]), grid)
    sampler = train_decoder(
        training_pairs(subject, sides, cut), steps, subject.seed, subject.device, told
    )
    hidden = inner_blocks(grid, sides, len(shown), subject.seed)
    predicted = predictions(subject, shown.loaded, hidden).to(subject.device)
    guesses = sampler.sample(predicted, _SPREAD_OVER, subject.seed).cpu()  # [B, s, T, P]
    return _draw(subject, hidden, guesses, cut, Grid(sides, grid.axes))


def training_pairs(subject: Subject, sides: tuple[int, ...], cut: Cells) -> Pairs:
    """Predictions of hidden blocks of many inputs, and what is behind them, in bounded memory."""
    grid, tokens = subject.grid, int(np.prod(sides))
    width = subject.model.target.dim + cut.size
    count = min(_INPUTS, len(subject.more), max(1, _FLOATS // (tokens * width * _BLOCKS_EACH)))
    workers = resolve_workers(subject.config.data.workers)
    found: list[Pairs] = []
    for first in range(0, count, _CHUNK):
        chosen = subject.more[first : min(first + _CHUNK, count)]
        inputs = load_inputs(subject.source, subject.built, chosen, workers)
        content = cut.cut(inputs.pictures)
        for turn in range(_BLOCKS_EACH):
            draw = subject.seed + 1 + _BLOCKS_EACH * first + turn
            hidden = inner_blocks(grid, sides, len(inputs), draw)
            rows = torch.arange(len(inputs))[:, None]
            found.append(Pairs(predictions(subject, inputs.loaded, hidden), content[rows, hidden]))
    return Pairs(*(torch.cat(parts) for parts in zip(*found, strict=True)))


def _draw(subject: Subject, hidden: Tensor, guesses: Tensor, cut: Cells, inner: Grid) -> Figure:
    """The sheet; `inner` is the grid of a block."""
    grid, shown = subject.grid, subject.shown
    spread = block_spread(guesses, cut)
    high = max(float(spread.quantile(0.99)), 1.0)
    scale = Scale(0.0, high, "inferno", bool((spread > high).any()))
    titles = ["input", "hidden block", *(f"guess {n + 1}" for n in range(_GUESSES)), "spread"]
    reading = READING.format(all=guesses.shape[1], some=_GUESSES)
    figure, axes = drawing.make(
        len(shown), len(titles), shown.pictures, TITLE, reading,
        extra=1.0, gap_before=len(titles) - 1,
    )  # fmt: skip
    for place, row in enumerate(axes):
        picture, block = shown.pictures[place], hidden[place].tolist()
        for axis in row[:2]:
            drawing.show(axis, picture, grid)
        drawing.veil(row[1], block, grid)
        for axis, guess in zip(row[2:-1], guesses[place], strict=False):
            drawing.show(axis, cut.paste(picture, hidden[place], guess), grid)
        _draw_spread(row[-1], spread[place], inner, scale, cut)
        for axis in row[:-1]:
            drawing.outline(axis, block, grid, drawing.GREEN, 0.9)
        row[0].set_ylabel(shown.names[place], fontsize=9)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    drawing.bar(figure, axes, scale, "standard deviation of guesses, of 255 levels")
    return figure


def block_spread(guesses: Tensor, cut: Cells) -> Tensor:
    """Standard deviation over guesses [B, s, T, P], mean over colours: [B, T, h * w] of 255."""
    dots = rearrange(guesses.clamp(-1, 1), "B s T (d c) -> B s T d c", c=cut.colours)
    return 127.5 * dots.std(1).mean(-1)


def _draw_spread(axis: Axes, spread: Tensor, inner: Grid, scale: Scale, cut: Cells) -> None:
    """The spread [T, h * w] of a block, as large as there is room."""
    laid = plane(inner)
    dots = rearrange(
        spread[laid.flatten()], "(R C) (h w) -> (R h) (C w)", R=len(laid), h=cut.height
    )
    axis.imshow(
        dots.numpy(), aspect="equal", interpolation="nearest",
        cmap=scale.colours, vmin=scale.low, vmax=scale.high,
    )  # fmt: skip
    axis.set_adjustable("datalim")  # the cell keeps its form, and the block its own
    axis.set_axis_off()
