"""Checks of regularizers."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa.core.build import seeded
from jepa.core.interfaces import Regularizer
from jepa.testing.losses import Fed, Step, expect_loss, step
from jepa.testing.modules import Trial, module_promises
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import shuffled

_FORWARD = "jepa.core.Regularizer.forward"
_CLOSE = 1e-4


def _made(subject: Subject) -> Regularizer:
    made: Regularizer = subject.cls(subject.config, dim=subject.setup.dim)
    return made


def _term(regularizer: Regularizer, given: Step) -> float:
    with seeded(0):
        return float(regularizer(*given).total)


def _rows(given: Step, rows: Tensor) -> Step:
    """The samples at `rows`."""
    return Step(*([view[rows] for view in views] for views in given))


@promise(_FORWARD, basic=True)
def losses(subject: Subject) -> None:
    """Predictions, targets and context of several views give a Loss of finite numbers."""
    expect_loss(_made(subject)(*step(subject.setup.dim)))


@promise(_FORWARD)
def differentiable(subject: Subject) -> None:
    """The term has a finite gradient to the context or to the predictions."""
    _expect_gradient(_made(subject), step(subject.setup.dim), nonzero=True)


@promise(_FORWARD)
def finite_after_collapse(subject: Subject) -> None:
    """Where all features are equal, the term and its gradient are finite: there is a way back."""
    given = step(subject.setup.dim)
    flat = Step(*([torch.full_like(view, 0.5) for view in views] for views in given))
    _expect_gradient(_made(subject), flat, nonzero=False)


def _expect_gradient(regularizer: Regularizer, given: Step, *, nonzero: bool) -> None:
    views = [view.requires_grad_() for view in (*given.predictions, *given.context)]
    total = regularizer(*given).total
    expect(bool(total.isfinite()), f"the term is {float(total.detach())}")
    expect(total.requires_grad, "the term has no gradient")
    total.backward()
    found = [view.grad for view in views if view.grad is not None]
    expect(all(bool(g.isfinite().all()) for g in found), "the gradient is not finite")
    expect(not nonzero or any(bool(g.any()) for g in found), "the gradient is zero")


@promise(_FORWARD)
def order_of_samples(subject: Subject) -> None:
    """The term is a statistic of the batch: the order of samples does not matter."""
    given, regularizer = step(subject.setup.dim), _made(subject)
    order = shuffled(len(given.context[0]), seed=3)
    one, other = _term(regularizer, given), _term(regularizer, _rows(given, order))
    expect(abs(one - other) <= _CLOSE * max(1.0, abs(one)), f"{one:.8g} and {other:.8g}")


@promise("jepa.core.Regularizer.accumulates")
def accumulates(subject: Subject) -> None:
    """`accumulates` is true only if the mean over micro-steps is the term of the whole batch."""
    given, regularizer = step(subject.setup.dim), _made(subject)
    if not subject.cls.accumulates:
        return
    halves = torch.arange(len(given.context[0])).chunk(2)
    apart = sum(_term(regularizer, _rows(given, half)) for half in halves) / len(halves)
    whole = _term(regularizer, given)
    close = abs(apart - whole) <= _CLOSE * max(1.0, abs(whole))
    expect(close, f"{apart:.8g} over two micro-steps, {whole:.8g} over all")


def _trial(subject: Subject) -> Trial:
    dim = subject.setup.dim
    part = _made(subject)
    return Trial(Fed(part, dim), tuple(step(dim)), part)


PROMISES: tuple[Promise, ...] = (
    losses,
    differentiable,
    finite_after_collapse,
    order_of_samples,
    accumulates,
    # A term may draw in whatever mode, such as directions to look along.
    *module_promises(_trial, _FORWARD, draws=True),
)
