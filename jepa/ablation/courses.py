"""How the runs of a sweep went: scalars over the samples that they have seen."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jepa.ablation.outcome import Outcome
from jepa.core.errors import DataError
from jepa.core.health.trace import HEALTH, LOSS, METRICS_FILE, read_trace

KNN = f"{HEALTH}knn"
"""The online k-NN of the observer `health`, a share in [0, 1]."""


class Course(NamedTuple):
    """A scalar of one run: `samples` seen [n] int64 ascending, `values` [n] float64, finite."""

    samples: np.ndarray
    values: np.ndarray


def losses(outcomes: Sequence[Outcome]) -> list[Course]:
    """The training loss of each run that has one."""
    return [found for outcome in outcomes if (found := _course(outcome, LOSS)) is not None]


def knn(outcomes: Sequence[Outcome]) -> list[Course]:
    """The online k-NN of each run that has one, from the untrained network on."""
    found = []
    for outcome in outcomes:
        course = _course(outcome, KNN)
        start = _course(outcome, f"{KNN}_init")
        if course is None:
            continue
        if start is not None:
            samples = np.concatenate([[0], course.samples])
            course = Course(samples, np.concatenate([start.values[:1], course.values]))
        found.append(course)
    return found


def mean(courses: Sequence[Course]) -> Course:
    """The mean over runs, where all of them that came furthest have a value.

    Runs on their way are left out, since a mean that loses a run jumps.
    """
    furthest = max(course.samples[-1] for course in courses)
    whole = [course for course in courses if course.samples[-1] == furthest]
    common = functools.reduce(np.intersect1d, [course.samples for course in whole])
    values = [course.values[np.isin(course.samples, common)] for course in whole]
    return Course(common, np.mean(values, axis=0))


def _course(outcome: Outcome, name: str) -> Course | None:
    """One scalar of a run; None where it kept none, or its file is damaged."""
    path = outcome.run.folder / METRICS_FILE
    try:
        steps, values = read_trace(path).series(name)
    except DataError:
        return None
    kept = np.isfinite(values)
    if not kept.any():
        return None
    return Course(steps[kept] * outcome.run.config.train.global_batch, values[kept])
