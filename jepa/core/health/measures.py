"""Measures of features and predictions: what moves when a model learns or collapses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

LIDAR_DELTA = 1e-4
"""Added to the within-class covariance, as in the paper."""


def explained_variance(predictions: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """1 - sum (t - p)^2 / sum (t - mean t)^2 over all tokens and features: [] float64, at most 1.

    0 is the predictor that always says the mean token; below 0 it does worse than that.

    Args:
        predictions: [..., D_target] of each view.
        targets: of the same shapes, as the objective compares them (`Objective.normalise`).
    """
    p, t = _tokens(predictions), _tokens(targets)
    return 1 - (t - p).square().sum() / (t - t.mean(dim=0)).square().sum()


def lidar(features: Tensor) -> Tensor:
    """LiDAR: the effective rank of what tells samples apart, [n, q, D] -> [] float64.

    From 1 to min(n - 1, D). The q rows of a sample are one class of a linear discriminant
    analysis; the rank is the exponential of the entropy of the eigenvalues of
    Sw^-1/2 Sb Sw^-1/2, normalised to sum 1 (Thilak et al., arXiv 2312.04000, section 4). Sb is the
    covariance of the samples' means, Sw that within samples plus 1e-4 times the identity. Classes
    that are all equal give 0, features that are not finite give nan.

    Args:
        features: n samples, each in q versions that should mean the same.
    """
    x = features.double()
    n, q, dim = x.shape
    means = x.mean(dim=1)  # [n, D]
    between = (means - means.mean(dim=0)).T / (n - 1) ** 0.5  # [D, n], Sb = between @ between.T
    apart = rearrange(x - means[:, None], "n q D -> (n q) D")
    identity = torch.eye(dim, dtype=x.dtype, device=x.device)
    within = apart.T @ apart / (n * (q - 1)) + LIDAR_DELTA * identity
    if not torch.isfinite(within).all():
        return torch.full_like(within[0, 0], torch.nan)
    # Between^T Sw^-1 between has the same eigenvalues but zeros, and is n wide, not D.
    whitened = between.T @ torch.cholesky_solve(between, torch.linalg.cholesky(within))
    values = torch.linalg.eigvalsh(whitened).clamp(min=0)
    rank = torch.special.entr(values / values.sum()).sum().exp()
    return torch.where(values.sum() == 0, 0.0, rank)


def alignment(first: Tensor, second: Tensor) -> Tensor:
    """Mean squared distance of two versions of the same samples: [n, D] twice -> [], 0 to 4.

    On the unit sphere (Wang and Isola, arXiv 2005.10242, with alpha 2). 0: the same direction.
    """
    apart = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return apart.square().sum(dim=1).mean()


def uniformity(features: Tensor) -> Tensor:
    """log mean exp(-2 |x - y|^2) over pairs of different samples: [n, D] -> [], -8 to 0.

    On the unit sphere (Wang and Isola, arXiv 2005.10242, with t 2). 0: all point one way.
    """
    distances = torch.pdist(F.normalize(features.double(), dim=1))
    return distances.square().mul(-2).exp().mean().log()


def drift(target: nn.Module, online: nn.Module) -> Tensor:
    """How far the target's weights are from the online ones: |target - online| / |online|, [].

    Both have the same parameters in the same order.
    """
    pairs = list(zip(target.parameters(), online.parameters(), strict=True))
    apart = torch.stack([(a.detach() - b.detach()).float().norm() for a, b in pairs])
    size = torch.stack([b.detach().float().norm() for _, b in pairs])
    share: Tensor = apart.norm() / size.norm()
    return share


def _tokens(views: Sequence[Tensor]) -> Tensor:
    """Tokens of all views: [..., D] each -> [n, D] float64."""
    return torch.cat([rearrange(view, "... D -> (...) D") for view in views]).double()
