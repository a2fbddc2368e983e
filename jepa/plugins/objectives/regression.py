"""Distances between predictions and normalised targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.collective import mean_over_processes
from jepa.core.interfaces import Objective
from jepa.core.settings import positive
from jepa.core.tokens import Loss

Normalisation = Literal["layer", "batch", "none"]


class Regression(Objective):
    """Mean distance of predictions and targets over everything, then over views.

    Targets are normalised in float32 or finer: by layer over D without affine (I-JEPA's and
    V-JEPA's code; the papers do not say it), by batch, or not at all.
    """

    def __init__(self, normalise: Normalisation) -> None:
        super().__init__()
        self._normalise = _NORMALISATIONS[normalise]

    @abstractmethod
    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The mean distance []: predictions, targets [B, M, T, D], float32 or finer."""

    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """[B, M, T, D] of each view -> Loss."""
        distances = []
        for z, h in zip(predictions, targets, strict=True):
            distances.append(self.distance(_fine(z), self.normalise(h)))
        return Loss(torch.stack(distances).mean(), {})

    def normalise(self, targets: Tensor) -> Tensor:
        """As the settings say: [B, M, T, D] -> [B, M, T, D], float32 or finer."""
        return self._normalise(_fine(targets))


def _fine(x: Tensor) -> Tensor:
    """At least float32: means over many numbers are too coarse in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _by_layer(targets: Tensor) -> Tensor:
    """Each token to mean 0 and variance 1 over D: [B, M, T, D] -> [B, M, T, D]."""
    return F.layer_norm(targets, (targets.shape[-1],))


def _by_batch(targets: Tensor) -> Tensor:
    """Each feature to mean 0 and variance 1 over all tokens of the step's batch (data2vec).

    Over the batch of all processes; with gradient accumulation, over that of a micro-step.
    """
    mean = mean_over_processes(targets.mean(dim=(0, 1, 2)))
    variance = mean_over_processes((targets - mean).square().mean(dim=(0, 1, 2)))
    return (targets - mean) * (variance + _EPS).rsqrt()


def _not_at_all(targets: Tensor) -> Tensor:
    return targets


_EPS = 1e-5
_NORMALISATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "layer": _by_layer,
    "batch": _by_batch,
    "none": _not_at_all,
}


class SmoothL1(Regression):
    """Smooth L1 (Huber over beta): I-JEPA's published code."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the smooth-L1 objective."""

        beta: float = attrs.field(default=1.0, validator=positive)
        """Error below which the distance is quadratic."""
        normalise: Normalisation = "layer"
        """How targets are normalised: each token over its features, each feature over the batch,
        or not at all. By batch, what all tokens share (such as a position's share) is taken out
        of the targets: small models learn more, and collapse less."""

    def __init__(self, config: Config) -> None:
        super().__init__(config.normalise)
        self.beta = config.beta

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean smooth L1 []."""
        return F.smooth_l1_loss(predictions, targets, beta=self.beta)


@attrs.frozen(kw_only=True)
class PlainConfig:
    """Settings of distances without a parameter of their own."""

    normalise: Normalisation = "layer"
    """How targets are normalised."""


class L1(Regression):
    """Mean absolute error: V-JEPA."""

    Config = PlainConfig

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config.normalise)

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean absolute error []."""
        return F.l1_loss(predictions, targets)


class L2(Regression):
    """Mean squared error: I-JEPA's paper."""

    Config = PlainConfig

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config.normalise)

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error []."""
        return F.mse_loss(predictions, targets)


class Cosine(Regression):
    """One minus the cosine of prediction and target, from 0 to 2: BYOL, SimSiam (2011.10566)."""

    Config = PlainConfig

    def __init__(self, config: PlainConfig) -> None:
        super().__init__(config.normalise)

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean of 1 - cos over D []."""
        return 1 - F.cosine_similarity(predictions, targets, dim=-1).mean()
