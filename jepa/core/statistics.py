"""Measures of how much a set of features spreads: what falls when a representation collapses."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def feature_std(features: Tensor) -> Tensor:
    """Mean over features of the standard deviation over rows: [n, D] -> [] float32.

    The quantity that VICReg's variance term holds up (arXiv 2105.04906, section 4.1), with n in
    the denominator and without its epsilon: 0 where all rows are equal.
    """
    return features.float().std(dim=0, correction=0).mean()


def normalized_std(features: Tensor) -> Tensor:
    """`feature_std` after each row is layer-normed without affine: [n, D] -> [] in [0, 1].

    It does not depend on the scale of a row: 1 where features vary freely around 0, 0 where all
    rows point one way.
    """
    return feature_std(F.layer_norm(features.float(), features.shape[-1:]))


def rank_me(features: Tensor) -> Tensor:
    """RankMe, the effective rank: [n, D] -> [] float64, from 1 to min(n, D).

    The exponential of the entropy of the singular values, normalised to sum 1 (Garrido et al.,
    arXiv 2210.02885, equation 1). Rows are not centred, as in the paper: equal rows give 1. Rows
    that are all zero give 0, rows that are not finite give nan.
    """
    values = _singular_values(features.double())
    share = values / values.sum()
    rank = torch.special.entr(share).sum().exp()
    return torch.where(values.sum() == 0, 0.0, rank)


def _singular_values(rows: Tensor) -> Tensor:
    """Singular values of [n, D] float64, as roots of the eigenvalues of the smaller Gram matrix.

    In float64 the squares cost singular values below 1e-8 of the greatest, which weigh nothing.
    """
    gram = rows.T @ rows if rows.shape[0] >= rows.shape[1] else rows @ rows.T
    if not torch.isfinite(gram).all():
        # The solver refuses such matrices with an error of its own.
        return torch.full_like(gram[0], torch.nan)
    squares: Tensor = torch.linalg.eigvalsh(gram)
    return squares.clamp(min=0).sqrt()


def spread_rows(features: Tensor, limit: int) -> Tensor:
    """At most `limit` rows, evenly spaced: [n, D] -> [min(n, limit), D]. The same on every call."""
    n = features.shape[0]
    if n <= limit:
        return features
    places = torch.arange(limit, device=features.device) * n // limit
    return features[places]
