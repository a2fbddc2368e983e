"""What a sensor shows on average, how much it moves, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

_HIGHEST_HZ = 10.0
"""Bodies move slower than this."""
_ROUNDING = float(np.finfo(np.float32).eps)


class Moments(NamedTuple):
    """Of a piece of a series, by channel.

    Attributes:
        mean: [C] float64.
        variance: [C] float64.
    """

    mean: np.ndarray
    variance: np.ndarray


def moments(piece: Tensor) -> Moments:
    """Mean and variance of each channel of a piece [C, T]."""
    variance, mean = torch.var_mean(piece.double(), dim=1, correction=0)
    return Moments(mean.numpy(), variance.numpy())


def normal(pieces: Sequence[Moments], centred: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel over all pieces, which are of one length.

    Args:
        pieces: one or more.
        centred: each piece has its mean taken out, so what is left varies within pieces alone.

    Returns:
        C numbers each, to four digits of the deviation: more than a network notices, and the same
        on every machine. A channel that does not vary by more than float32 rounds has deviation 1.
    """
    means, variances = (np.stack(each) for each in zip(*pieces, strict=True))  # [pieces, C]
    size = np.sqrt(np.square(means).mean(axis=0))
    mean = np.zeros_like(size) if centred else means.mean(axis=0)
    std = np.sqrt(variances.mean(axis=0) + (0 if centred else means.var(axis=0)))
    std = np.where(std <= _ROUNDING * size, 1.0, std)
    step = 10.0 ** (np.floor(np.log10(std)) - 3)
    return tuple(_rounded(mean, step)), tuple(_rounded(std, step))


def _rounded(values: np.ndarray, step: np.ndarray) -> list[float]:
    """Each to a multiple of its step, in as many digits as that takes."""
    return [float(f"{value:.12g}") for value in np.round(values / step) * step]


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
