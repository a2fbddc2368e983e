"""The modality `imu`: series of several sensors, on a grid of one axis t."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import attrs
import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from jepa.core import (
    Content,
    DataError,
    DecodeError,
    FieldError,
    InputSpec,
    Modality,
    SampleRng,
    Source,
    check,
    positive,
    positive_all,
)
from jepa_imu.picture import curves
from jepa_imu.signal import EXTENSIONS, cut, read_series
from jepa_imu.statistics import Moments, moments, moments_and_spectrum, normal

_MEASURED = 512
"""Pieces that `fit` looks at, about."""

_some = check("one or more numbers", lambda values: len(values) > 0)


@final
class ImuModality(Modality):
    """Series [n, C] of numbers, cut to one length: float32 [C, T].

    A training input begins at a random place of its series, an evaluation input lies in the middle.
    Each channel is divided by its deviation over the whole data set, so that strong movements stay
    stronger than weak ones. The mean that is taken out is that of the data set, or the input's own
    (`centre`); without the latter, how a sensor lies towards gravity is seen.
    """

    extensions = EXTENSIONS
    measures = ("mean", "std")
    takes_stretches = True

    @attrs.frozen(kw_only=True)
    class Config:
        """What a series is, and how much of it an input holds."""

        channels: int = attrs.field(default=6, validator=positive)
        """Channels C of a series; three of an accelerometer and three of a gyroscope are 6."""
        rate: float = attrs.field(default=50.0, validator=positive)
        """Values of a channel a second. Series say nothing of it, so all must have this rate."""
        duration: float = attrs.field(default=4.0, validator=positive)
        """Seconds of an input."""
        centre: bool = False
        """Whether each channel of an input is brought to mean 0 by itself: movement is left.
        How the sensor lies is a slow, easy thing to predict, and people differ in it."""
        mean: tuple[float, ...] | None = attrs.field(default=None, validator=_some)
        """Mean of each channel; null: measured once a data set."""
        std: tuple[float, ...] | None = attrs.field(default=None, validator=positive_all)
        """Standard deviation of each channel; null: measured."""

        def __attrs_post_init__(self) -> None:
            for name, values in (("mean", self.mean), ("std", self.std)):
                if values is not None and len(values) != self.channels:
                    raise FieldError(
                        name,
                        f"found {len(values)} numbers, allowed: one for each of "
                        f"{self.channels} channels",
                    )
            if self.length < 2:
                raise FieldError(
                    "duration",
                    f"found {self.duration:g}, which at {self.rate:g} values a second are "
                    f"{self.length} values; allowed: 2 or more",
                )

        @property
        def length(self) -> int:
            """Values T of an input along time."""
            return round(self.duration * self.rate)

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def fit(cls, config: Config, source: Source) -> Config:
        """Mean and deviation of each channel, over about 512 pieces spread over the source.

        Pieces are as long as inputs, and of up to 512 series; of fewer series each gives several.

        Raises:
            DataError: none of the series can be decoded.
        """
        n = min(_MEASURED, len(source))
        places = (np.arange(_MEASURED // n) + 0.5) / (_MEASURED // n)
        pieces: list[Moments] = []
        reason = ""
        for index in np.arange(n) * len(source) // n:
            try:
                series = read_series(source.item(int(index)).content, config.channels)
            except (DecodeError, OSError) as error:
                reason = str(error)
                continue
            for place in places:
                try:
                    pieces.append(moments(cut(series, config.length, place)))
                except DecodeError as error:
                    reason = str(error)
        if not pieces:
            raise DataError(f"none of {n} series can be decoded, so nothing is measured: {reason}")
        mean, std = normal(pieces, config.centre)
        return attrs.evolve(
            config,
            mean=mean if config.mean is None else config.mean,
            std=std if config.std is None else config.std,
        )

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        """Tokens of 10 values, a small transformer, and spans of time to guess."""
        return {
            "data": {"source": {"name": "folder"}},
            "model": {
                "dim": 192,
                "tokenizer": {"name": "patch", "size": [10], "init_std": None},
                "encoder": {"name": "vit", "depth": 4, "heads": 3, "init_std": 0.05},
                "predictor": {"name": "vit", "depth": 3, "dim": 64, "heads": 2, "init_std": 0.05},
                "target": {"name": "ema", "start": 0.98, "end": 1.0, "layers": 4},
                "objective": {"name": "smooth_l1", "normalise": "batch"},
                "regularizers": [{"name": "vicreg"}],
            },
            "masks": [{"name": "spans", "length": 2, "min_keep": 4}],
            "observers": [{"name": name} for name in ("progress", "jsonl", "health")],
        }

    @property
    def spec(self) -> InputSpec:
        """[C, T] on the axis t."""
        return InputSpec((self.config.channels, self.config.length), ("t",))

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """A piece from a random place of a series: float32 [C, T]."""
        return self._cut(content, float(rng.uniforms(1)[0]))

    def eval_input(self, content: Content) -> Tensor:
        """The middle of a series: float32 [C, T]."""
        return self._cut(content, 0.5)

    def _cut(self, content: Content, place: float) -> Tensor:
        config = self.config
        return cut(read_series(content, config.channels), config.length, place)

    def device_transform(self) -> nn.Module:
        """float32 [B, C, T] -> normalised, float32 [B, C, T]."""
        return self._normalise()

    def preview(self, inputs: Tensor) -> Tensor:
        """A curve a channel, one below the other: uint8 [B, H, T, 3], time from left to right."""
        return curves(self._normalise().to(inputs.device)(inputs))

    def baseline(self, inputs: Tensor) -> Tensor:
        """Mean, deviation and spectrum of each channel: [B, C, T] -> [B, C * (2 + F)].

        What is usual for recognising movements by hand-made features. They are of the values as
        they come, for probes bring features to one scale themselves.
        """
        return moments_and_spectrum(inputs.float(), self.config.rate)

    def _normalise(self) -> Normalise:
        config = self.config
        return Normalise(
            None if config.centre else config.mean or (0.0,) * config.channels,
            config.std or (1.0,) * config.channels,
        )


@final
class Normalise(nn.Module):
    """(x - mean) / std, by channel.

    Args:
        mean: C numbers; None: each input's own.
        std: C numbers above 0.
    """

    def __init__(self, mean: tuple[float, ...] | None, std: tuple[float, ...]) -> None:
        super().__init__()
        self.mean: Tensor | None
        self.std: Tensor
        for name, values in (("mean", mean), ("std", std)):
            column = None if values is None else rearrange(torch.tensor(values), "C -> C 1")
            self.register_buffer(name, column, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, T] of any type -> float32 [B, C, T]."""
        values = inputs.float()
        mean = values.mean(dim=2, keepdim=True) if self.mean is None else self.mean
        return (values - mean) / self.std
