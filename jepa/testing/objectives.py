"""Checks of objectives."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa.core.build import seeded
from jepa.core.interfaces import Objective
from jepa.testing.losses import Fed, Step, expect_loss, step
from jepa.testing.modules import Trial, module_promises
from jepa.testing.promises import Promise, Subject, expect, promise

_FORWARD = "jepa.core.Objective.forward"
_CLOSE = 1e-5


def _made(subject: Subject) -> Objective:
    made: Objective = subject.cls(subject.config)
    return made


def _loss(objective: Objective, predictions: list[Tensor], given: Step) -> float:
    with seeded(0):
        return float(objective(predictions, given.targets, given.context).total)


@promise(_FORWARD, basic=True)
def losses(subject: Subject) -> None:
    """Predictions, targets and context of several views give a Loss of finite numbers."""
    expect_loss(_made(subject)(*step(subject.setup.dim)))


@promise(_FORWARD)
def differentiable(subject: Subject) -> None:
    """The gradient to the predictions of every view is finite, and not zero."""
    given = step(subject.setup.dim)
    predictions = [view.requires_grad_() for view in given.predictions]
    total = _made(subject)(predictions, given.targets, given.context).total
    expect(total.requires_grad, "the total has no gradient")
    total.backward()
    for view, prediction in enumerate(predictions):
        gradient = prediction.grad
        if gradient is None or not bool(gradient.any()):
            expect(False, f"none reaches the predictions of view {view}")
            continue
        expect(bool(gradient.isfinite().all()), f"in view {view} it is not finite")


@promise(_FORWARD)
def tells_right_from_wrong(subject: Subject) -> None:
    """The right predictions cost less than those of other samples."""
    given, objective = step(subject.setup.dim), _made(subject)
    right = [objective.normalise(view) for view in given.targets]
    others = [view.roll(1, dims=0) for view in right]
    costs = _loss(objective, right, given), _loss(objective, others, given)
    lower = costs[0] < costs[1] - _CLOSE * max(1.0, abs(costs[1]))
    expect(lower, f"{costs[0]:.6g} for right ones, {costs[1]:.6g} for other samples'")


@promise("jepa.core.Objective.normalise")
def normalise(subject: Subject) -> None:
    """`normalise` keeps the shape, and gives what `forward` compares with: it costs the least."""
    given, objective = step(subject.setup.dim), _made(subject)
    right = [objective.normalise(view) for view in given.targets]
    shapes = [list(view.shape) for view in right]
    wanted = [list(view.shape) for view in given.targets]
    expect(shapes == wanted, f"shapes {shapes} for {wanted}")
    cost = _loss(objective, right, given)
    for name, others in (
        ("the targets as they are", given.targets),
        ("zeros", [torch.zeros_like(view) for view in given.targets]),
    ):
        other = _loss(objective, others, given)
        bound = other + _CLOSE * max(1.0, abs(other))
        expect(cost <= bound, f"normalised targets cost {cost:.6g}, {name} {other:.6g}")


@promise(_FORWARD)
def inputs_stay(subject: Subject) -> None:
    """Predictions, targets and context are not changed in place."""
    given, kept = step(subject.setup.dim), step(subject.setup.dim)
    _made(subject)(*given)
    for name, views, before in zip(given._fields, given, kept, strict=True):
        unchanged = all(map(torch.equal, views, before))
        expect(unchanged, f"{name} changed")


def _trial(subject: Subject) -> Trial:
    dim = subject.setup.dim
    part = _made(subject)
    return Trial(Fed(part, dim), tuple(step(dim)), part)


PROMISES: tuple[Promise, ...] = (
    losses,
    differentiable,
    tells_right_from_wrong,
    normalise,
    inputs_stay,
    *module_promises(_trial, _FORWARD),
)
