"""How the verdict on a run changed over its course."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jepa.core.health.rules import judge
from jepa.core.health.trace import BAD_STEPS, HEALTH, Trace
from jepa.core.health.verdict import Verdict

_PLACES = 300
"""Steps that are judged, at most: a long run has thousands of measurements."""


class Turn(NamedTuple):
    """A verdict, and the step from which it held."""

    step: int
    verdict: Verdict


class History(NamedTuple):
    """`turns`: each change of the verdict's kind, in order; `now`: after the last measurement."""

    turns: tuple[Turn, ...]
    now: Turn


def history(trace: Trace) -> History:
    """The verdict after each measurement and skipped step of a trace, as it was known then.

    The trace has at least one scalar of the observer `health`.
    """
    measured = [trace.series(name).steps for name in trace.names if HEALTH in name]
    skipped = trace.series(BAD_STEPS)  # a run may end by those long before the next measurement
    steps = np.unique(np.concatenate([*measured, skipped.steps[skipped.values > 0]]))
    if len(steps) > _PLACES:
        steps = steps[np.linspace(0, len(steps) - 1, _PLACES).round().astype(np.int64)]
    judged = [Turn(int(step), judge(trace.until(int(step)))) for step in steps]
    turns = [
        turn
        for place, turn in enumerate(judged)
        if place == 0 or turn.verdict.kind is not judged[place - 1].verdict.kind
    ]
    return History(tuple(turns), judged[-1])
