"""Distances between predictions and layer-normed targets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.interfaces import Objective
from jepa.core.settings import positive
from jepa.core.tokens import Loss


class Regression(Objective):
    """Mean distance of predictions and targets over everything, then over views.

    Targets are layer-normed over D without affine, in float32 or finer (I-JEPA's and V-JEPA's
    code; the papers do not say it).
    """

    normalise: bool

    @abstractmethod
    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The mean distance []: predictions, targets [B, M, T, D], float32 or finer."""

    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """[B, M, T, D] of each view -> Loss."""
        distances = []
        for z, h in zip(predictions, targets, strict=True):
            wanted = _fine(h)
            if self.normalise:
                wanted = F.layer_norm(wanted, (h.shape[-1],))
            distances.append(self.distance(_fine(z), wanted))
        return Loss(torch.stack(distances).mean(), {})


def _fine(x: Tensor) -> Tensor:
    """At least float32: means over many numbers are too coarse in bf16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class SmoothL1(Regression):
    """Smooth L1 (Huber over beta): I-JEPA's published code."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the smooth-L1 objective."""

        beta: float = attrs.field(default=1.0, validator=positive)
        """Error below which the distance is quadratic."""
        normalise: bool = True
        """Layer-norm the targets."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.normalise = config.normalise
        self.beta = config.beta

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean smooth L1 []."""
        return F.smooth_l1_loss(predictions, targets, beta=self.beta)


class L1(Regression):
    """Mean absolute error: V-JEPA."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the L1 objective."""

        normalise: bool = True
        """Layer-norm the targets."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.normalise = config.normalise

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean absolute error []."""
        return F.l1_loss(predictions, targets)


class L2(Regression):
    """Mean squared error: I-JEPA's paper."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the L2 objective."""

        normalise: bool = True
        """Layer-norm the targets."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.normalise = config.normalise

    def distance(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error []."""
        return F.mse_loss(predictions, targets)
