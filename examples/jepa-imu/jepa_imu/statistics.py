"""Features by hand: what a sensor shows on average, how much it moves, and how fast."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

_HIGHEST_HZ = 10.0
"""Bodies move slower than this."""


def moments_and_spectrum(series: Tensor, rate: float) -> Tensor:
    """Mean, deviation and magnitudes of frequencies of each channel.

    The magnitudes are those of the Fourier transform without the mean, up to 10 Hz, over the root
    of T. So they do not grow with the length of white noise.

    Args:
        series: [B, C, T].
        rate: values a second.

    Returns:
        [B, C * (2 + F)], of F = 10 T / rate frequencies, or T / 2 where those are fewer.
    """
    length = series.shape[2]
    std, mean = torch.std_mean(series, dim=2, keepdim=True, correction=0)
    highest = min(int(_HIGHEST_HZ * length / rate), length // 2)
    spectrum = torch.fft.rfft(series - mean, dim=2).abs()[:, :, 1 : 1 + highest] / length**0.5
    return rearrange(torch.cat([mean, std, spectrum], dim=2), "B C P -> B (C P)")
