"""Ridge regression in closed form, by the smaller of the two Gram matrices.

Letters: n samples, P features, G penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

_PART = 1024  # rows in float64 at once


class Line(NamedTuple):
    """A linear function: `weight` [P], `bias` [], both float64."""

    weight: Tensor
    bias: Tensor

    def values(self, features: Tensor) -> Tensor:
        """Of features [n, P]: [n] float64."""
        found = [part.double() @ self.weight for part in torch.split(features, _PART)]
        return torch.cat(found) + self.bias


def ridge(features: Tensor, values: Tensor, penalties: Sequence[float]) -> list[Line]:
    """Minimise mean (x w + b - y)^2 + l2 |w|^2 for each penalty l2; b is not penalised.

    With X and y centred, w = (X'X / n + l2)^-1 X'y / n, and where P > n the same by the dual form
    w = X' (XX' / n + l2)^-1 y / n. Only the Gram matrix is held in float64.

    Args:
        features: [n, P], best standardised.
        values: [n].
        penalties: G of them, above 0.

    Returns:
        A line for each penalty.
    """
    n = len(features)
    mean, level = features.mean(0, dtype=torch.float64), values.double().mean()
    centred, target = features - mean.to(features), values.double() - level
    dual = centred.shape[1] > n
    gram = _gram(centred.T if dual else centred) / n
    right = (target if dual else _back(centred, target)) / n
    unit = torch.eye(len(gram), dtype=torch.float64)
    lines = []
    for l2 in penalties:
        factor = torch.linalg.cholesky(gram + l2 * unit)
        solved = torch.cholesky_solve(right[:, None], factor)[:, 0]
        weight = _back(centred, solved) if dual else solved
        lines.append(Line(weight, level - mean @ weight))
    return lines


def _gram(features: Tensor) -> Tensor:
    """X'X [P, P] float64 of features [n, P]."""
    gram = features.new_zeros(features.shape[1], features.shape[1], dtype=torch.float64)
    for part in torch.split(features, _PART):
        gram += part.double().T @ part.double()
    return gram


def _back(features: Tensor, values: Tensor) -> Tensor:
    """X'v [P] float64 of features [n, P] and v [n] float64."""
    found = values.new_zeros(features.shape[1])
    for part, v in zip(torch.split(features, _PART), torch.split(values, _PART), strict=True):
        found += part.double().T @ v
    return found
