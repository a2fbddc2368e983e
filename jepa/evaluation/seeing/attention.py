"""What a block of the encoder attends to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.interfaces import Attentive
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.drawing import Scale
from jepa.evaluation.seeing.similarity import middle
from jepa.evaluation.seeing.subject import SheetError, Subject

TITLE = "Where does attention go? ({block})"
READING = (
    "The heat maps 'of the mark' show how the marked place (white frame) shares its attention "
    "among all places of the input: bright places are those it looks at. 1 is an even share, as if "
    "it looked at all places alike; 3 is three times that. '{every}' is the mean over the heads, "
    "each of which may look for something else. The last column asks another question and has no "
    "mark: how much attention does each place get from all places and heads together? Bright "
    "places that lie alike in every input are a habit of the network, not a finding."
)
_HEADS = 6
_MARK, _EVERY, _RECEIVED = "of the mark,\n", "all heads", "of all places,\nall heads"


class Looks(NamedTuple):
    """Attention of one block, in multiples of an even share.

    Attributes:
        asking: what the asking token gives to each token, by head: [B, H, N].
        received: what each token gets, mean over heads and over all who ask: [B, N].
    """

    asking: Tensor
    received: Tensor


def looks(subject: Subject, block: int, token: int) -> Looks:
    """Attention of a block of the backbone in the inputs shown.

    Raises:
        SheetError: the encoder cannot show any.
        ConfigError: there is no such block.
    """
    encoder = subject.backbone.encoder
    if not isinstance(encoder, Attentive):
        raise SheetError(
            f"the encoder {type(encoder).__name__} shows no attention "
            "(it is not jepa.core.Attentive)"
        )
    asking, received = [], []
    with torch.inference_mode():
        # One by one: N x N weights of many inputs and heads would fill the memory.
        for loaded in torch.split(subject.shown.loaded, 1):
            tokens = subject.backbone.tokens(subject.prepared(loaded))
            weights = encoder.attention(tokens, block).float()[0] * subject.grid.size
            asking.append(weights[:, token].cpu())
            received.append(weights.mean((0, 1)).cpu())
    return Looks(torch.stack(asking), torch.stack(received))


def attention_sheet(subject: Subject, block: int = -1) -> Figure:
    """An input a row: it, the mean over heads, single heads, and the attention received."""
    grid, shown = subject.grid, subject.shown
    asking = middle(grid)
    found = looks(subject, block, asking)
    heads = found.asking.shape[1]
    single = min(heads, _HEADS) if heads > 1 else 0
    maps = {f"{_MARK}{_EVERY}": found.asking.mean(1)}
    maps |= {f"{_MARK}head {head + 1}": found.asking[:, head] for head in range(single)}
    maps[_RECEIVED] = found.received
    values = torch.stack(list(maps.values()))
    # Single places get very much; a scale that reached up to them would leave the others dark.
    high = max(float(np.quantile(values.numpy(), 0.99)), 1.5)
    scale = Scale(0.0, high, "viridis", bool((values > high).any()))
    number = block % subject.backbone.encoder.depth + 1
    name = f"block {number} of {subject.backbone.encoder.depth}"
    more = f" {heads - single} more heads are not shown." if heads > single > 0 else ""
    figure, cells = drawing.make(
        len(shown), 1 + len(maps), shown.pictures, TITLE.format(block=name),
        READING.format(every=_EVERY) + more,
        extra=1.1, gap_before=len(maps),
    )  # fmt: skip
    for place, row in enumerate(cells):
        drawing.show(row[0], shown.pictures[place], grid)
        row[0].set_ylabel(shown.names[place], fontsize=9)
        for axis, shares in zip(row[1:], values, strict=True):
            drawing.heat(axis, shares[place], grid, scale)
        for axis, title in zip(row, ("input", *maps), strict=True):
            if title != _RECEIVED:
                drawing.outline(axis, [asking], grid, "white", 1.0, edge="black")
            if place == 0:
                axis.set_title(title, fontsize=10)
    drawing.bar(figure, cells, scale, "attention (1: an even share)")
    return figure
