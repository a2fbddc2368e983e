"""Sound: log-mel spectrograms [1, T, F] on a grid (t, f), or waveforms [1, S] on a grid (t).

Letters besides those of `jepa.core.tokens`: S samples of a clip, T frames, F mel bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
import torch
from einops import rearrange
from torch import Tensor, nn

from jepa.core.data.source import Source
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content, Modality
from jepa.core.rng import SampleRng
from jepa.core.settings import FieldError, check, positive
from jepa.modalities.audio.clip import FULL, Short, cut_clip
from jepa.modalities.audio.decode import EXTENSIONS, open_sound
from jepa.modalities.audio.measure import mean_and_std
from jepa.modalities.audio.mel import LogMel, MelConfig, over_time
from jepa.modalities.audio.picture import envelope_pictures, spectrogram_pictures

USUAL_LOG_MEL = (-7.0, 5.0)
"""Mean and deviation of log-mel power where nothing was measured: speech at a usual level."""
USUAL_WAVEFORM = (0.0, 0.1)

_TRIES = 10
"""Places of a long sound that are tried before it counts as silent."""
_WINDOW_S, _HOP_S, _FINE_S, _BINS = 0.025, 0.010, 0.1, 64
_EPS = 1e-5

_rate = check("1000 to 384000", lambda v: 1000 <= v <= 384_000)


@final
class AudioModality(Modality):
    """Clips of sound: int16 [1, S], cut at random to train and from the middle to evaluate.

    Clips travel as int16, half of float32: 16-bit files come through bit for bit, and others lose
    what lies 98 dB below full scale. float16 would cost as much and lose more, for it has 11 bits.
    The spectrogram is made on the device.
    """

    extensions = EXTENSIONS
    measures = ("mean", "std")
    takes_stretches = True

    @attrs.frozen(kw_only=True)
    class Config:
        """Length, rate, and what the model sees of a clip."""

        rate: int = attrs.field(default=16000, validator=_rate)
        """Samples a second; files of other rates are resampled."""
        duration: float = attrs.field(default=10.24, validator=positive)
        """Seconds of a clip; a whole number of samples."""
        short: Short = "pad"
        """Sounds that are shorter: zeros around them, or repeated."""
        mel: MelConfig | None = attrs.field(factory=MelConfig)
        """The spectrogram; null: the waveform itself."""
        normalise: Literal["data", "clip"] = "data"
        """By `mean` and `std`, or each clip by its own mean and deviation."""
        mean: float | None = None
        """Mean of what the model sees; null: measured once a data set."""
        std: float | None = attrs.field(default=None, validator=positive)
        """Its standard deviation; null: measured."""
        array_rate: int | None = attrs.field(default=None, validator=_rate)
        """Samples a second of samples that are arrays; null: `rate`."""

        def __attrs_post_init__(self) -> None:
            exact = self.rate * self.duration
            if abs(exact - round(exact)) > 1e-6 * exact or round(exact) < 2:
                raise FieldError(
                    "duration",
                    f"found {self.duration:g}, which at {self.rate} samples a second are "
                    f"{exact:g} samples; allowed: a whole number of them, at least 2",
                )
            if self.mel is not None:
                _check_frames(self.samples, self.mel)
            if self.normalise == "clip" and (self.mean, self.std) != (None, None):
                raise FieldError(
                    "normalise", "found clip, which needs no mean and std; allowed with them: data"
                )

        @property
        def samples(self) -> int:
            """Samples of a clip, S."""
            return round(self.rate * self.duration)

    def __init__(self, config: Config) -> None:
        self.config = config
        self._log_mel()  # for what it refuses

    @classmethod
    def fit(cls, config: Config, source: Source) -> Config:
        """Mean and deviation of what the model sees, over up to 256 clips spread over the source.

        Raises:
            DataError: none of them can be decoded.
        """
        if config.normalise == "clip":
            return config
        bare = cls(attrs.evolve(config, mean=0.0, std=1.0))
        mean, std = mean_and_std(source, bare)
        return attrs.evolve(
            config,
            mean=mean if config.mean is None else config.mean,
            std=std if config.std is None else config.std,
        )

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        """Patches of 16 frames by 16 bins, and I-JEPA's parts at the size of ViT-B."""
        return {
            "data": {"source": {"name": "folder"}},
            "model": {
                "tokenizer": {"name": "patch", "size": [16, 16]},
                "encoder": {"name": "vit", "preset": "base"},
                "predictor": {"name": "vit", "depth": 6, "dim": 384},
                "target": {"name": "ema"},
                "objective": {"name": "smooth_l1"},
            },
            "masks": [{"name": "multiblock"}],
            "observers": [
                {"name": name} for name in ("progress", "jsonl", "tensorboard", "health")
            ],
        }

    @property
    def spec(self) -> InputSpec:
        """[1, T, F] on the axes (t, f), or [1, S] on (t); loaded as [1, S]."""
        config = self.config
        loaded = (1, config.samples)
        if config.mel is None:
            return InputSpec(loaded, ("t",))
        frames = config.samples // config.mel.hop
        return InputSpec((1, frames, config.mel.bins), ("t", "f"), loaded)

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """A clip from a random place: int16 [1, S]. Up to ten places are tried for some sound."""
        return self._clip(content, rng.uniforms(_TRIES).tolist())

    def eval_input(self, content: Content) -> Tensor:
        """The middle of the sound, or a fixed place aside where that is silent: int16 [1, S]."""
        return self._clip(content, None)

    def _clip(self, content: Content, places: list[float] | None) -> Tensor:
        config = self.config
        with open_sound(content, config.array_rate or config.rate) as sound:
            clip = cut_clip(sound, config.rate, config.samples, config.short, places)
        return rearrange(clip, "S -> 1 S")

    def device_transform(self) -> nn.Module:
        """int16 [B, 1, S] -> float32 [B, 1, T, F], or [B, 1, S]; normalised."""
        config = self.config
        mel = self._log_mel()
        if config.normalise == "clip":
            return Prepare(mel, None)
        mean, std = USUAL_WAVEFORM if mel is None else USUAL_LOG_MEL
        return Prepare(
            mel,
            (
                mean if config.mean is None else config.mean,
                std if config.std is None else config.std,
            ),
        )

    def preview(self, inputs: Tensor) -> Tensor:
        """The spectrogram [B, T, F, 3] (time down, frequency to the right), or the waveform."""
        samples = _floats(inputs)
        mel = self._log_mel()
        if mel is None:
            return envelope_pictures(samples)
        with torch.inference_mode():
            return spectrogram_pictures(mel.to(inputs.device)(samples))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Mean and deviation over time of each log-mel bin: int16 [B, 1, S] -> [B, 2 F].

        Frames of digital silence do not count, so padding does not change it. Of a model that sees
        the waveform it is that of 64 bins, 25 ms and 10 ms.
        """
        samples = _floats(inputs)
        mel = self._log_mel()
        if mel is None:
            config = _usual_mel(self.config.rate, self.config.samples)
            mel = LogMel(config, self.config.rate)
            samples = samples[:, : samples.shape[1] // config.hop * config.hop]
        return over_time(mel.to(inputs.device)(samples))

    def _log_mel(self) -> LogMel | None:
        config = self.config
        return None if config.mel is None else LogMel(config.mel, config.rate)


@final
class Prepare(nn.Module):
    """int16 [B, 1, S] -> float32 [B, 1, T, F] or [B, 1, S], normalised.

    Args:
        mel: makes the spectrogram; None: the waveform.
        scale: mean and deviation of all clips; None: each clip's own.
    """

    def __init__(self, mel: LogMel | None, scale: tuple[float, float] | None) -> None:
        super().__init__()
        self.mel = mel
        self.scale = scale

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, 1, S] of any type, 2^15 at full scale -> float32 [B, 1, ...]."""
        samples = _floats(inputs)
        seen = samples if self.mel is None else self.mel(samples)  # [B, ...]
        if self.scale is None:
            flat = rearrange(seen, "B ... -> B (...)")
            std, mean = torch.std_mean(flat, dim=1, keepdim=True, correction=0)
            normal = ((flat - mean) / (std + _EPS)).reshape(seen.shape)
        else:
            normal = (seen - self.scale[0]) / self.scale[1]
        return rearrange(normal, "B ... -> B 1 ...")


def _floats(inputs: Tensor) -> Tensor:
    """int16 [B, 1, S] -> float32 [B, S] in -1 to 1."""
    return rearrange(inputs, "B 1 S -> B S").float() / FULL


def _check_frames(samples: int, mel: MelConfig) -> None:
    """Whole frames, and enough of them to mirror the edges.

    Raises:
        FieldError: at `duration`.
    """
    if samples % mel.hop:
        below = samples // mel.hop
        raise FieldError(
            "duration",
            f"its {samples} samples are {samples / mel.hop:g} frames, one every {mel.hop}; "
            f"allowed: whole frames, such as {max(below, 1)} or {below + 1}",
        )
    if samples < mel.transform:
        raise FieldError(
            "duration",
            f"its {samples} samples are fewer than the {mel.transform} of a Fourier transform",
        )


def _usual_mel(rate: int, samples: int) -> MelConfig:
    """A spectrogram of 25 ms every 10 ms, coarser where clips are very short."""
    window = min(round(_WINDOW_S * rate), samples)
    hop = min(round(_HOP_S * rate), window)
    # Long enough that the lowest bin holds a frequency.
    fine = 1 << round(_FINE_S * rate).bit_length()
    fft = max(window, min(fine, samples))
    return MelConfig(bins=max(1, _BINS * fft // fine), window=window, hop=hop, fft=fft)
