"""Numbers of a sweep as people read them: accuracy in percent, errors in their own unit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from jepa.ablation.statistics import Estimate, Verdict
from jepa.ablation.summary import Measure, Place, Standing

SAME_SCORE = "the seeds gave the same score"
SAME_DIFFERENCE = "the seeds gave the same difference"
_VERDICTS: Mapping[Verdict, str] = MappingProxyType(
    {"better": "better", "worse": "worse", "open": "not told apart"}
)
_PLACES: Mapping[Place, str] = MappingProxyType(
    {"best": "best", "level": "not told apart from the best", "behind": "behind the best"}
)
_PERCENT = 100.0
_FINEST = 4  # decimals
_UNITS = (("PFLOPs", 1e15), ("TFLOPs", 1e12), ("GFLOPs", 1e9))


def title(measure: Measure) -> str:
    """What a column of scores holds."""
    if measure.more_is_better:
        return f"{measure.name} {measure.metric}, %"
    return f"{measure.name} {measure.metric} (less is better)"


def score(measure: Measure, found: Estimate | None) -> str:
    """`41.2 ± 1.0 (40.2 to 42.2)`, or `41.2` where there is no interval."""
    if found is None:
        return "-"
    if found.half is None and found.n > 1:
        return f"{shown(measure, found.mean)} ({SAME_SCORE})"
    return baseline(measure, found)


def baseline(measure: Measure, found: Estimate | None) -> str:
    """As `score`; that no seed changes what nobody trained is no news."""
    if found is None:
        return "-"
    text, between = shown(measure, found.mean), ends(measure, found)
    if found.half is None or between is None:
        return text
    low, high = (shown(measure, end) for end in between)
    return f"{text} ± {shown(measure, found.half)} ({low} to {high})"


def ends(measure: Measure, found: Estimate) -> tuple[float, float] | None:
    """The interval of a score, as far as there are such scores; None where there is none."""
    if found.low is None or found.high is None:
        return None
    low, high = limits(measure)
    return max(found.low, low), min(found.high, high)


def limits(measure: Measure) -> tuple[float, float]:
    """Between what all scores lie."""
    return 0.0, 1.0 if measure.more_is_better else math.inf


def against_reference(standing: Standing) -> str:
    """`better`, `worse`, `not told apart`, or why nothing can be said."""
    said = standing.against_reference
    return _VERDICTS.get(said) or _unknown(standing.to_reference)


def place(standing: Standing) -> str:
    """How a variant stands beside the best; empty before it has a score."""
    if standing.score is None:
        return ""
    return _PLACES.get(standing.place) or _unknown(standing.to_best)


def _unknown(difference: Estimate | None) -> str:
    if difference is None:
        return "no common seed"
    return "one seed" if difference.n == 1 else SAME_DIFFERENCE


def shown(measure: Measure, number: float) -> str:
    """A score: one decimal of a percentage, three of an error."""
    return f"{_PERCENT * number:.1f}" if measure.more_is_better else f"{number:.3f}"


def difference(measure: Measure, found: Estimate | None) -> str:
    """`+3.1 (+1.0 to +5.2)`, or `+3.1` where there is no interval."""
    if found is None:
        return "-"
    if found.low is None or found.high is None:
        return _signed(measure, found.mean)[0]
    mean, low, high = _signed(measure, found.mean, found.low, found.high)
    return f"{mean} ({low} to {high})"


def apart(measure: Measure, found: Estimate) -> str:
    """How far apart two are, whichever is ahead: `3.1 (95%: 1.0 to 5.2)`."""
    turned = found if found.mean >= 0 else Estimate(-found.mean, found.half, found.n)
    if turned.low is None or turned.high is None:
        return _plain(measure, turned.mean)[0]
    mean, low, high = _plain(measure, turned.mean, turned.low, turned.high)
    return f"{mean} (95%: {low} to {high})"


def _signed(measure: Measure, *numbers: float) -> list[str]:
    return [f"+{text}" if float(text) > 0 else text for text in _plain(measure, *numbers)]


def _plain(measure: Measure, *numbers: float) -> list[str]:
    """All with as many decimals as keep what is not 0 from being rounded to it.

    An end of an interval that is near 0 but not 0 must not look as if it held 0.
    """
    scale, decimals = (_PERCENT, 1) if measure.more_is_better else (1.0, 3)
    scaled = [scale * number for number in numbers]
    smallest = min((abs(number) for number in scaled if number), default=1.0)
    while decimals < _FINEST and round(smallest, decimals) == 0:
        decimals += 1
    return [f"{round(number, decimals) + 0.0:.{decimals}f}" for number in scaled]


def operations(flops: float | None) -> str:
    """`0.180 GFLOPs`."""
    if flops is None:
        return "not counted"
    unit, size = next((each for each in _UNITS if flops >= each[1]), _UNITS[-1])
    scaled = flops / size
    decimals = next((d for d, limit in ((3, 1), (2, 10), (1, 100)) if scaled < limit), 0)
    return f"{scaled:.{decimals}f} {unit}"


def duration(seconds: float | None) -> str:
    """`3 min 20 s`."""
    if seconds is None:
        return "not measured"
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.3g} s"
    if whole < 6000:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
