"""What objectives and regularizers are tried on: two views of another size each."""

from __future__ import annotations

from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from jepa.core.interfaces import Objective, Regularizer
from jepa.core.tokens import Loss
from jepa.testing.promises import expect
from jepa.testing.setup import normals

_BATCH = 8
_VIEWS = ((2, 3, 5), (1, 4, 3))  # M, T, K of each


class Step(NamedTuple):
    """Predictions and targets [B, M, T, D] and context [B, K, D] of each view."""

    predictions: list[Tensor]
    targets: list[Tensor]
    context: list[Tensor]


def step(dim: int, batch: int = _BATCH) -> Step:
    """A step of fixed numbers. Targets have a mean and a scale of their own."""
    shapes = [(batch, m, t, dim) for m, t, _ in _VIEWS]
    targets = [3 * normals(*shape, seed=v) + 1 for v, shape in enumerate(shapes)]
    predictions = [normals(*shape, seed=7 + v) for v, shape in enumerate(shapes)]
    context = [normals(batch, k, dim, seed=17 + v) for v, (_, _, k) in enumerate(_VIEWS)]
    return Step(predictions, targets, context)


def expect_loss(found: object) -> None:
    """A Loss whose total and parts are finite numbers []."""
    if not isinstance(found, Loss):
        expect(False, f"a {type(found).__name__}")
        return
    for name, value in {"total": found.total, **found.parts}.items():
        is_scalar = isinstance(value, Tensor) and value.ndim == 0
        expect(is_scalar, f"{name} is {getattr(value, 'shape', value)!s}, not a tensor []")
        expect(bool(value.isfinite()), f"{name} is {float(value.detach())}")


@final
class Fed(nn.Module):
    """Layers in front of a loss, so that there are parameters that gradients reach.

    Predictions and context share one, since a regularizer may look at either.
    """

    def __init__(self, part: Objective | Regularizer, dim: int) -> None:
        super().__init__()
        self.feed = nn.Linear(dim, dim)
        self.part = part

    def forward(
        self, predictions: list[Tensor], targets: list[Tensor], context: list[Tensor]
    ) -> Loss:
        """The loss of fed predictions and context."""
        loss: Loss = self.part(
            [torch.tanh(self.feed(view)) for view in predictions],
            targets,
            [torch.tanh(self.feed(view)) for view in context],
        )
        return loss
