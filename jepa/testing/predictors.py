"""Checks of predictors."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from jepa.core.build import seeded
from jepa.core.interfaces import Predictor
from jepa.core.tokens import Query, Tokens, gather
from jepa.testing.modules import Trial, distance, module_promises
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import normals, shuffled

_FORWARD = "jepa.core.Predictor.forward"
_BATCH, _VIEWS, _MORE = 4, 2, 3
_CLOSE = 1e-4


def _made(subject: Subject) -> Predictor:
    dim = subject.setup.dim
    with seeded(0):
        made: Predictor = subject.cls(
            subject.config, grid=subject.grid, dim=dim, target_dim=dim + _MORE, views=_VIEWS
        )
    return made.eval()


def _asked(subject: Subject) -> tuple[Tokens, Tensor]:
    """A context of a third of the tokens, and coordinates of another third to predict."""
    grid = subject.grid
    coords = grid.coords().expand(_BATCH, -1, -1)
    third = max(grid.size // 3, 1)
    both = shuffled(grid.size).expand(_BATCH, -1)
    seen, hidden = both[:, :third].sort().values, both[:, third : 2 * third].sort().values
    whole = Tokens(normals(_BATCH, grid.size, subject.setup.dim), coords)
    return whole.take(seen), gather(coords, hidden)


@promise(_FORWARD, basic=True)
def shapes(subject: Subject) -> None:
    """Context [b, K, D] and queried places [b, T, A] give [b, T, D_target], for every view."""
    predictor = _made(subject)
    context, places = _asked(subject)
    wanted = [*places.shape[:2], subject.setup.dim + _MORE]
    for view in range(_VIEWS):
        found = predictor(context, Query(places, view))
        expect(list(found.shape) == wanted, f"{list(found.shape)} for {wanted} in view {view}")
        expect(found.dtype == torch.float32, f"{found.dtype}")


@promise(_FORWARD)
def order_of_context(subject: Subject) -> None:
    """The order in which context tokens come does not matter: their coordinates do."""
    predictor = _made(subject)
    context, places = _asked(subject)
    order = shuffled(context.data.shape[1], seed=1)
    found = predictor(Tokens(*(part[:, order] for part in context)), Query(places, 0))
    error = distance(found, predictor(context, Query(places, 0)))
    expect(error <= _CLOSE, f"predictions change by {error:.1e}")


@promise(_FORWARD)
def order_of_query(subject: Subject) -> None:
    """Places asked for in another order are answered in that order, and alike."""
    predictor = _made(subject)
    context, places = _asked(subject)
    order = shuffled(places.shape[1], seed=2)
    found = predictor(context, Query(places[:, order], 0))
    error = distance(found, predictor(context, Query(places, 0))[:, order])
    expect(error <= _CLOSE, f"predictions change by {error:.1e}")


@promise(_FORWARD)
def places_asked_for(subject: Subject) -> None:
    """Other places have other predictions."""
    predictor = _made(subject)
    context, places = _asked(subject)
    found = predictor(context, Query(places.flip(1), 0))
    error = distance(found, predictor(context, Query(places, 0)))
    expect(error > _CLOSE, f"predictions differ by {error:.1e} at other places")


@promise(_FORWARD)
def context_counts(subject: Subject) -> None:
    """What is predicted depends on the context, and the gradient reaches it."""
    predictor = _made(subject)
    context, places = _asked(subject)
    seen = context.data.clone().requires_grad_()
    predictor(Tokens(seen, context.coords), Query(places, 0)).square().sum().backward()
    reached = seen.grad is not None and bool(seen.grad.any())
    expect(reached, "no gradient reaches the context")


@promise(_FORWARD)
def samples_apart(subject: Subject) -> None:
    """Predictions of a sample depend on that sample alone (in evaluation mode)."""
    predictor = _made(subject)
    context, places = _asked(subject)
    found = predictor(Tokens(*(part[1:2] for part in context)), Query(places[1:2], 0))
    error = distance(found, predictor(context, Query(places, 0))[1:2])
    expect(error <= _CLOSE, f"another batch around a sample changes them by {error:.1e}")


@final
class EveryView(nn.Module):
    """Predictions of all views, since a predictor may have parameters for each."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.predictor = predictor

    def forward(self, context: Tokens, places: Tensor) -> Tensor:
        """data [b, K, D], places [b, T, A] -> [b, V, T, D_target] of V views."""
        views = [self.predictor(context, Query(places, view)) for view in range(_VIEWS)]
        return torch.stack(views, dim=1)


def _trial(subject: Subject) -> Trial:
    return Trial(EveryView(_made(subject)), _asked(subject))


PROMISES: tuple[Promise, ...] = (
    shapes,
    order_of_context,
    order_of_query,
    places_asked_for,
    context_counts,
    samples_apart,
    *module_promises(_trial, _FORWARD, compiled=True),
)
