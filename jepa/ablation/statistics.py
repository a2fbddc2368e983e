"""What scores of a few seeds say: means, paired differences, and when nothing may be said.

Intervals are Student's t over seeds. They hold what training anew changes, and not what other test
samples would.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Literal

import attrs

Verdict = Literal["better", "worse", "open", "unknown"]
"""What a paired difference says. `open`: its interval holds 0. `unknown`: it has no interval."""

_CONFIDENCE = 0.95
_CLOSE = 1e-9
"""Share of the greatest value by which floats that should be equal may differ."""


@attrs.frozen
class Estimate:
    """A mean over seeds.

    Args:
        mean: of the values.
        half: half the width of the 95% interval; None where there is none: for one seed, and
            where all seeds gave the same value, whose spread says nothing.
        n: seeds.
    """

    mean: float
    half: float | None
    n: int

    @property
    def low(self) -> float | None:
        """The lower end of the interval."""
        return None if self.half is None else self.mean - self.half

    @property
    def high(self) -> float | None:
        """The upper end of the interval."""
        return None if self.half is None else self.mean + self.half


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean and its 95% interval; None where there are no values.

    Scores are multiples of 1 / test samples, so a few seeds may well give the same one by chance.
    That is no proof of anything: such a mean has no interval, rather than one of no width.
    """
    n = len(values)
    if n == 0:
        return None
    mean, close = fmean(values), _CLOSE * max(map(abs, values))
    if abs(mean) <= close:
        mean = 0.0
    if n == 1 or max(values) - min(values) <= close:
        return Estimate(mean, None, n)
    return Estimate(mean, student(n - 1) * stdev(values) / math.sqrt(n), n)


def same(first: float, second: float) -> bool:
    """Whether two scores or means are equal, but for how they were rounded."""
    return math.isclose(first, second, rel_tol=_CLOSE)


def _minus(first: float, second: float) -> float:
    return 0.0 if same(first, second) else first - second


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Estimate | None:
    """The mean difference over the seeds that both have; None where they share none.

    Args:
        values: by seed.
        reference: by seed, subtracted.
    """
    common = sorted(values.keys() & reference.keys())
    return estimate([_minus(values[seed], reference[seed]) for seed in common])


def verdict(difference: Estimate | None, more_is_better: bool) -> Verdict:
    """What a paired difference says of the first against the second."""
    if difference is None or difference.half is None:
        return "unknown"
    if abs(difference.mean) <= difference.half:
        return "open"
    return "better" if (difference.mean > 0) == more_is_better else "worse"


def student(degrees: int) -> float:
    """Student's 97.5% point: the t that holds 95% between -t and t.

    The share between them has a closed form for whole degrees of freedom (Abramowitz and Stegun,
    Handbook of Mathematical Functions, 26.7.3 and 26.7.4); the point is found by bisection.

    Args:
        degrees: of freedom, 1 or more.
    """
    low, high = 0.0, 1.0
    while _between(high, degrees) < _CONFIDENCE:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _between(middle, degrees) < _CONFIDENCE else (low, middle)
    return high


def _between(t: float, degrees: int) -> float:
    """The share of Student's distribution between -t and t."""
    angle = math.atan2(t, math.sqrt(degrees))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for factor in range(2 if odd else 1, degrees - 2, 2):
        term *= square * factor / (factor + 1)
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total
