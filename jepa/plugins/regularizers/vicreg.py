"""Variance and covariance of features, held up and held down (VICReg, C-JEPA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import torch
from torch import Tensor

from jepa.core.collective import mean_over_processes, processes
from jepa.core.interfaces import Regularizer
from jepa.core.settings import non_negative, positive
from jepa.core.tokens import Loss
from jepa.plugins.regularizers.rows import Of, Over, full_precision, rows_of

_EPS = 1e-4
"""Added to variances, as in the paper: the root of 0 has no gradient."""


@final
class VicReg(Regularizer):
    """variance * mean_j max(0, gamma - std_j) + covariance * sum_{i != j} cov_ij^2 / D.

    Of features over the batch of all processes, mean over views. Source: VICReg (arXiv
    2105.04906, section 4); C-JEPA (arXiv 2410.19560) adds it to I-JEPA's loss.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Weights, and what the statistics are of."""

        variance: float = attrs.field(default=1.0, validator=non_negative)
        """Weight of the variance term."""
        covariance: float = attrs.field(default=0.04, validator=non_negative)
        """Weight of the covariance term; the paper's is a 25th of the variance's."""
        gamma: float = attrs.field(default=1.0, validator=positive)
        """Standard deviation that features are asked for."""
        of: Of = "context"
        """The encoded context, or the predictions."""
        over: Over = "samples"
        """Statistics over the mean tokens of samples, or over all tokens. Positions alone make
        tokens differ, so over tokens a network that knows nothing else may pass."""

    def __init__(self, config: Config, *, dim: int) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """[B, M, T, D_target] and [B, K, D] of each view -> Loss."""
        config = self.config
        terms = [
            variance_covariance(rows, config.gamma)
            for rows in rows_of(predictions, context, config.of, config.over)
        ]
        variance, covariance = (torch.stack(term).mean() for term in zip(*terms, strict=True))
        total = config.variance * variance + config.covariance * covariance
        return Loss(total, {"variance": variance.detach(), "covariance": covariance.detach()})


def variance_covariance(rows: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """VICReg's two terms [], [] of rows [n, d] on each process."""
    n, dim = rows.shape[0] * processes(), rows.shape[1]
    centred = rows - mean_over_processes(rows.mean(dim=0))
    with full_precision(rows.device):
        own = centred.T @ centred / rows.shape[0]
    covariance = mean_over_processes(own) * (n / max(n - 1, 1))  # [d, d]
    variances = covariance.diagonal()
    hinge = torch.relu(gamma - (variances + _EPS).sqrt()).mean()
    off_diagonal = covariance.square().sum() - variances.square().sum()
    return hinge, off_diagonal / dim
