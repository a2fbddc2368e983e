"""The health of a run as tables for the terminal, and as numbers for a file."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from rich.table import Table

from jepa.core.health.glossary import MEASURES, Measure
from jepa.core.health.history import History
from jepa.core.health.trace import HEALTH, Trace

TABLE_WIDTH = 100
"""Columns in which the tables cut nothing."""


class Course(NamedTuple):
    """A measure's first, best and last value; `best` is None where no end is good."""

    measure: Measure
    first: float
    best: float | None
    last: float


def courses(trace: Trace) -> list[Course]:
    """Every measure that the trace has, in the order of the glossary."""
    found = []
    for measure in MEASURES:
        values = trace.series(f"{HEALTH}{measure.name}").values
        if len(values) == 0:
            continue
        finite = values[np.isfinite(values)]
        best = None
        if measure.better != "neither" and len(finite):
            best = float(finite.max() if measure.better == "high" else finite.min())
        found.append(Course(measure, float(values[0]), best, float(values[-1])))
    return found


def measures_table(trace: Trace) -> Table:
    """A line a measure: first, best, last, and what it means."""
    shown = Table(box=None, header_style="bold")
    shown.add_column("measure")
    for name in ("first", "best", "last"):
        shown.add_column(name, justify="right", no_wrap=True)
    shown.add_column("what it is")
    for measure, first, best, last in courses(trace):
        numbers = ("-" if value is None else f"{value:.3g}" for value in (first, best, last))
        shown.add_row(measure.name, *numbers, measure.meaning)
    return shown


def history_table(found: History) -> Table:
    """A line for each change of the verdict."""
    shown = Table(box=None, header_style="bold")
    shown.add_column("from step", justify="right")
    shown.add_column("verdict")
    for step, verdict in found.turns:
        shown.add_row(str(step), verdict.sentence)
    return shown


def as_numbers(trace: Trace, found: History) -> dict[str, object]:
    """The same for scripts; what is not finite is None."""
    step, verdict = found.now
    return {
        "step": step,
        "verdict": verdict.kind.value,
        "sentence": verdict.sentence,
        "hint": verdict.hint,
        "alarm": verdict.kind.alarm,
        "evidence": {name: _finite(value) for name, value in verdict.evidence.items()},
        "history": [
            {"step": turn.step, "verdict": turn.verdict.kind.value, "said": turn.verdict.sentence}
            for turn in found.turns
        ],
        "measures": {
            course.measure.name: {
                "first": _finite(course.first),
                "best": _finite(course.best),
                "last": _finite(course.last),
            }
            for course in courses(trace)
        },
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
