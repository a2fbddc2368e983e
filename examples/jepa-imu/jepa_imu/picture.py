"""Series as pictures for people: uint8 [B, H, T, 3]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

_ROWS = 33
"""Of a channel. Odd, so that the middle has a row of its own."""
_REACH = 4.0
"""Deviations from the middle to the edge."""
_PAPER, _RULE = 255, 215
_INKS = ((178, 60, 50), (60, 120, 60), (31, 72, 120))
"""Of the three axes of a sensor, in turn."""


def curves(normalised: Tensor) -> Tensor:
    """A strip for each channel, one below the other, with the curve of its values.

    A column is filled from each value to the next, so that a steep curve has no gaps.

    Args:
        normalised: [B, C, T] of about mean 0 and deviation 1; beyond 4 it is cut off.

    Returns:
        uint8 [B, 33 C, T, 3] on the CPU.
    """
    half = _ROWS // 2
    height = (normalised.detach().cpu() / _REACH).clamp(-1, 1).mul(half).round()  # [B, C, T]
    ahead = F.pad(height, (0, 1), mode="replicate")[..., 1:]
    low, high = torch.minimum(height, ahead), torch.maximum(height, ahead)
    rows = rearrange(torch.arange(half, -half - 1, -1), "h -> h 1")
    inked = (rows >= rearrange(low, "B C T -> B C 1 T")) & (
        rows <= rearrange(high, "B C T -> B C 1 T")
    )
    channels = normalised.shape[1]
    inks = torch.tensor([_INKS[channel % len(_INKS)] for channel in range(channels)])
    paper = torch.where(rows == 0, _RULE, _PAPER)  # [h, 1]
    drawn = torch.where(
        rearrange(inked, "B C h T -> B C h T 1"),
        rearrange(inks, "C c -> C 1 1 c"),
        repeat(paper, "h 1 -> h 1 c", c=3),
    )
    return rearrange(drawn, "B C h T c -> B (C h) T c").to(torch.uint8)
