"""Clips as pictures for people: uint8 [B, H, W, 3]."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

_RANGE = math.log(10) * 6.5
"""From black to white, in the logarithm of power: 65 dB."""

_COLUMNS = 800
_ROWS = 101
_INK, _PAPER = (31, 72, 120), 255


def spectrogram_pictures(log_mel: Tensor) -> Tensor:
    """Log-mel [B, T, F] -> uint8 [B, T, F, 3]: time runs down, frequency to the right.

    The loudest place of a clip is white. Grey, since even steps of it look even, and what is drawn
    over a picture, or guessed by a decoder, has colours of its own.
    """
    loudest = log_mel.amax(dim=(1, 2), keepdim=True)
    shade = ((log_mel - loudest) / _RANGE + 1).clamp(0, 1) * 255
    return repeat(shade.round().to(torch.uint8).cpu(), "B T F -> B T F c", c=3)


def envelope_pictures(samples: Tensor) -> Tensor:
    """Samples [B, S] float -> uint8 [B, 101, W, 3]: each column from its least to its greatest.

    Time runs to the right; W is S, at most 800. The loudest place of a clip reaches the edge.
    """
    columns = min(samples.shape[1], _COLUMNS)
    heard = samples.float().cpu()
    heard = heard / heard.abs().amax(dim=1, keepdim=True).clamp(min=1e-9)
    top = F.adaptive_max_pool1d(heard, columns)
    bottom = -F.adaptive_max_pool1d(-heard, columns)
    half = _ROWS // 2
    rows = torch.arange(half, -half - 1, -1)[:, None]  # [H, 1]
    low, high = (rearrange((edge * half).round(), "B W -> B 1 W") for edge in (bottom, top))
    inked = (rows >= low) & (rows <= high)  # [B, H, W]
    ink = torch.tensor(_INK)
    return torch.where(inked[..., None], ink, _PAPER).to(torch.uint8)
