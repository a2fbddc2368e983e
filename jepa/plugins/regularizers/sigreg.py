"""Features pushed towards an isotropic Gaussian, a random direction at a time (LeJEPA)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.collective import mean_over_processes, of_first_process, processes
from jepa.core.interfaces import Regularizer
from jepa.core.settings import check, non_negative, positive
from jepa.core.tokens import Loss
from jepa.plugins.regularizers.rows import Of, Over, full_precision, rows_of


@final
class SigReg(Regularizer):
    """The Epps-Pulley distance of projected features from N(0, 1), mean over random directions.

    Of features over the batch of all processes, mean over views. Directions are new in each step
    and the same on all processes. Source: LeJEPA (arXiv 2511.08544, section 4).
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Weight, quadrature, and what is to be Gaussian."""

        weight: float = attrs.field(default=0.05, validator=non_negative)
        """Of the term."""
        slices: int = attrs.field(default=256, validator=positive)
        """Random directions in a step."""
        points: int = attrs.field(
            default=17, validator=check("an odd number from 3 on", lambda v: v >= 3 and v % 2 == 1)
        )
        """Of the quadrature over [-range, range]."""
        range: float = attrs.field(default=5.0, validator=positive)
        """Where the characteristic functions are compared."""
        of: Of = "context"
        """The encoded context, or the predictions."""
        over: Over = "samples"
        """The mean tokens of samples are to be Gaussian, or all tokens. Tokens are many, and each
        takes slices * points / 2 numbers of memory."""

    def __init__(self, config: Config, *, dim: int) -> None:
        super().__init__()
        self.config = config

    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """[B, M, T, D_target] and [B, K, D] of each view -> Loss."""
        config = self.config
        views = rows_of(predictions, context, config.of, config.over)
        directions = self._directions(views[0])
        # The statistic's factor n: samples count, since the tokens of one are no independent draws.
        samples = context[0].shape[0] * processes()
        found = []
        for rows in views:
            with full_precision(rows.device):
                projected = rows @ directions
            found.append(samples * epps_pulley(projected, config.points, config.range).mean())
        statistic = torch.stack(found).mean()
        return Loss(config.weight * statistic, {"statistic": statistic.detach()})

    def _directions(self, rows: Tensor) -> Tensor:
        """Uniform on the sphere, one set for all views and processes: [d, slices]."""
        drawn = torch.randn(rows.shape[1], self.config.slices, dtype=rows.dtype, device=rows.device)
        return F.normalize(of_first_process(drawn), dim=0)


def epps_pulley(projected: Tensor, points: int, limit: float) -> Tensor:
    """The integral of |c(t) - exp(-t^2/2)|^2 exp(-t^2/2) over [-limit, limit] by trapezoids.

    c is the empirical characteristic function over the rows of all processes. The integrand is
    even, so that half of the points will do.

    Args:
        projected: [n, s] on each process.
        points: of the whole interval, an odd number.
        limit: end of the interval.

    Returns:
        [s].
    """
    half = points // 2
    t = torch.arange(half + 1, dtype=projected.dtype, device=projected.device) * (limit / half)
    gaussian = torch.exp(-0.5 * t.square())  # [p], the wanted function and the weight at once
    angles = projected[..., None] * t  # [n, s, p]
    parts = torch.stack([angles.cos().mean(dim=0), angles.sin().mean(dim=0)])
    real, imaginary = mean_over_processes(parts)  # [s, p]
    distance = ((real - gaussian).square() + imaginary.square()) * gaussian
    return 2 * torch.trapezoid(distance, dx=limit / half, dim=-1)
