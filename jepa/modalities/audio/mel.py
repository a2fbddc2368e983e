"""Log-mel spectrograms, in batch on the device.

Letters: B batch, S samples of a clip, T frames, F mel bins.
"""

from __future__ import annotations

import contextlib
import functools
import math
import warnings
from contextlib import AbstractContextManager
from typing import final

import attrs
import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from einops import rearrange
from torch import Tensor, nn

from jepa.core.errors import ConfigError, Fault
from jepa.core.settings import FieldError, non_negative, positive

_FLOOR = 1e-6
"""Added to the power before the logarithm: 100 dB below a full-scale sine, under a 25 ms window."""

_SILENT = math.log(2 * _FLOOR)


@attrs.frozen(kw_only=True)
class MelConfig:
    """Settings of the spectrogram."""

    bins: int = attrs.field(default=80, validator=positive)
    """Mel bins F."""
    window: int = attrs.field(default=400, validator=positive)
    """Samples of the Hann window; 400 are 25 ms at 16 kHz."""
    hop: int = attrs.field(default=160, validator=positive)
    """Samples from one frame to the next; they divide the samples of a clip."""
    fft: int | None = attrs.field(default=None, validator=positive)
    """Samples of the Fourier transform; null: the least power of two that holds the window."""
    low: float = attrs.field(default=0.0, validator=non_negative)
    """Hz at which the first bin begins."""
    high: float | None = attrs.field(default=None, validator=positive)
    """Hz at which the last bin ends; null: half the rate."""

    def __attrs_post_init__(self) -> None:
        if self.fft is not None and self.fft < self.window:
            raise FieldError(
                "fft", f"found {self.fft}, allowed: the window's {self.window} or more"
            )
        if self.hop > self.window:
            raise FieldError("hop", f"found {self.hop}, allowed: at most the window {self.window}")

    @property
    def transform(self) -> int:
        """Samples of the Fourier transform."""
        return self.fft or 1 << (self.window - 1).bit_length()


@final
class LogMel(nn.Module):
    """Natural logarithm of mel power: float32 [B, S] -> float32 [B, T, F], T = S / hop.

    Frame i is centred on the middle of the samples i * hop to (i + 1) * hop - 1, so frames share
    the clip among them exactly. For the first and the last frames the clip is mirrored at its
    edges, by (fft - hop) / 2 samples. Filters are triangles on the HTK scale, of height 1.

    Always in float32: bf16 has 8 bits for powers that differ by 10 orders of magnitude.

    Args:
        config: of the spectrogram.
        rate: samples a second.

    Raises:
        ConfigError: the filters do not fit the rate, or some hold no frequency.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelConfig, rate: int) -> None:
        super().__init__()
        self.config = config
        made = _filters(config, rate)
        device = torch.get_default_device()
        with torch.device("cpu"):
            window = torch.hann_window(config.window)
        self.register_buffer("window", window.to(device), persistent=False)
        self.register_buffer("filters", made.to(device), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        """[B, S] float32 -> [B, T, F] float32."""
        size, hop = self.config.transform, self.config.hop
        before = (size - hop) // 2
        with _full_precision(samples.device):
            padded = F.pad(samples, (before, size - hop - before), mode="reflect")
            power = AF.spectrogram(
                padded,
                pad=0,
                window=self.window,
                n_fft=size,
                hop_length=hop,
                win_length=self.config.window,
                power=2.0,
                normalized=False,
                center=False,
            )  # [B, fft / 2 + 1, T]
            found: Tensor = (power.mT @ self.filters + _FLOOR).log()
        return found


def over_time(log_mel: Tensor) -> Tensor:
    """Mean and deviation of each bin over the frames that hold sound: [B, T, F] -> [B, 2 F]."""
    sounding = (log_mel > _SILENT).any(dim=2, keepdim=True).to(log_mel.dtype)
    frames = sounding.sum(dim=1, keepdim=True).clamp(min=1)
    mean = (log_mel * sounding).sum(dim=1, keepdim=True) / frames
    variance = ((log_mel - mean).square() * sounding).sum(dim=1, keepdim=True) / frames
    return rearrange(torch.cat([mean, variance.sqrt()], dim=2), "B 1 P -> B P")


@functools.lru_cache(maxsize=16)
def _filters(config: MelConfig, rate: int) -> Tensor:
    """Mel filters [fft / 2 + 1, F] float32, on the CPU even where a model is only sketched."""
    high = config.high or rate / 2
    if not config.low < high <= rate / 2:
        raise ConfigError(
            Fault(
                "mel.high",
                f"found {config.low:g} to {high:g} Hz, allowed: rising, up to half the rate, "
                f"{rate / 2:g}",
            )
        )
    with torch.device("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is refused below
        made: Tensor = AF.melscale_fbanks(
            config.transform // 2 + 1, config.low, high, config.bins, rate, norm=None
        )
    empty = int((made.sum(0) == 0).sum())
    if empty:
        raise ConfigError(
            Fault(
                "mel.bins",
                f"found {config.bins}, of which {empty} are so narrow that no frequency of a "
                f"transform of {config.transform} samples falls into them; lower bins, or raise "
                "mel.fft",
            )
        )
    return made


def _full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Inside, products are not rounded to bf16, whatever the step's precision."""
    if device.type == "meta":  # which knows no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
