"""The rules of the verdict: a function of a run's trace. docs/health.md gives their sources."""

from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import numpy as np

from jepa.core.health.findings import Findings
from jepa.core.health.trace import Trace
from jepa.core.health.verdict import Kind, Verdict


@attrs.frozen(kw_only=True)
class Thresholds:
    """Where a verdict turns. The recorded runs of `benchmarks/health.py` leave margins to each."""

    measures: int = 4
    """Measurements before anything is judged but what is not finite: initial features have a high
    rank, and a healthy run loses a part of it in its first steps."""
    agree: int = 3
    """Measurements whose median counts, so that one that stands out changes nothing."""
    collapsed_rank: float = 0.35
    """Share of its greatest value so far to which the rank falls in a collapse."""
    collapsed_std: float = 0.15
    """Spread of layer-normed tokens below which they are all but the same, if it was twice as
    great once; 1 is free. Networks whose tokens are mostly position begin at 0.3."""
    collapsing_rank: float = 0.6
    """Share below which it is an alarm. Recorded healthy runs dip to 0.69, collapsed ones end at
    0.44 and less."""
    recovered_rank: float = 0.7
    """Share from which on a rank that was an alarm is none: verdicts must not flicker."""
    collapsing_knn: float = 0.05
    """Accuracy that the k-NN loses against the initial weights before it is an alarm."""
    diverging: float = 2.0
    """Loss of the predictor over that of the mean target, above which training makes it worse."""
    mean: float = 0.98
    """The same share, above which the predictor has learned nothing."""
    bad_steps: int = 3
    """Skipped steps in a row that are no accident."""
    rising: float = 1.05
    """Running mean of the training loss over its least value so far, above which it rises."""
    better_rank: float = 1.02
    """Rise of the rank since the least loss that is an improvement."""
    better_knn: float = 0.02
    """Rise of the k-NN since the least loss, or over the initial weights, that is an
    improvement."""
    sound_rank: float = 0.75
    """Share of its greatest value that the rank must have, if a rising loss is to be normal."""


def judge(trace: Trace, limits: Thresholds | None = None) -> Verdict:
    """How a run stands after the last step of its trace: the first rule that holds decides."""
    limits = limits or Thresholds()
    found = Findings(trace, limits.agree)
    for rule in _RULES:
        verdict = rule(found, limits)
        if verdict is not None:
            return verdict
    return Verdict(Kind.LEARNING, Kind.LEARNING.value, "", found.evidence())


def _early(found: Findings, limits: Thresholds) -> bool:
    return len(found.values("target_rank")) < limits.measures


# --- the rules, in their order ------------------------------------------------------------------


def _diverging(found: Findings, limits: Thresholds) -> Verdict | None:
    """Not finite, or worse than saying the mean by a factor."""
    ratios = found.ratios()
    if found.not_finite() or found.skipped() >= limits.bad_steps:
        reason = "the loss is not finite"
    elif not _early(found, limits) and _all_above(ratios, limits.diverging):
        reason = f"the loss is {ratios[-1]:.1f} times that of always predicting the mean"
    else:
        return None
    hint = "try a lower optim.lr, a longer optim.warmup_epochs or optim.clip_grad=1.0"
    return Verdict(Kind.DIVERGING, f"{Kind.DIVERGING.value}: {reason}", hint, found.evidence())


def _collapsed(found: Findings, limits: Thresholds) -> Verdict | None:
    """The targets use few of the directions that they had, or are all but the same."""
    if _early(found, limits):
        return None
    spread = found.recent("target_std")
    if spread < limits.collapsed_std and spread < found.best("target_std") / 2:
        return _collapse(found, Kind.COLLAPSED, "target_std")
    if _rank_share(found) < limits.collapsed_rank and not _better_than_initial(found, limits):
        return _collapse(found, Kind.COLLAPSED, "target_rank")
    return None


def _collapsing(found: Findings, limits: Thresholds) -> Verdict | None:
    """The rank lost much of what it had, or the k-NN fell below that of the initial weights."""
    if _early(found, limits):
        return None
    if _low_rank(found, limits) and not _better_than_initial(found, limits):
        return _collapse(found, Kind.COLLAPSING, "target_rank")
    loss = found.recent("knn_init") - found.recent("knn")
    if len(found.values("knn")) >= limits.agree and loss > limits.collapsing_knn * found.noise():
        return _collapse(found, Kind.COLLAPSING, "knn")
    return None


def _warming_up(found: Findings, limits: Thresholds) -> Verdict | None:
    """Too early to say, or the learning rate still rises."""
    if not (_early(found, limits) or found.rate_rises()):
        return None
    return Verdict(Kind.WARMING_UP, Kind.WARMING_UP.value, "", found.evidence())


def _mean(found: Findings, limits: Thresholds) -> Verdict | None:
    """Predictions are worth no more than one constant token."""
    if not _all_above(found.ratios(), limits.mean):
        return None
    hint = "try a higher optim.lr, more steps, or larger contexts (`jepa masks` draws them)"
    return Verdict(Kind.MEAN, Kind.MEAN.value, hint, found.evidence())


def _harder(found: Findings, limits: Thresholds) -> Verdict | None:
    """The training loss rises, while the features gained since it was least."""
    steps, loss = found.training_loss()
    if len(loss) == 0 or loss[-1] < limits.rising * loss.min():
        return None
    least = int(steps[loss.argmin()])
    if not _improved(found, limits, least):
        return None
    sentence = f"{Kind.HARDER.value} (normal: the targets got harder)"
    return Verdict(Kind.HARDER, sentence, "", found.evidence())


_RULES: tuple[Callable[[Findings, Thresholds], Verdict | None], ...] = (
    _diverging,
    _collapsed,
    _collapsing,
    _warming_up,
    _mean,
    _harder,
)


def _all_above(values: np.ndarray, limit: float) -> bool:
    return len(values) > 0 and bool((values > limit).all())


def _share(part: float, whole: float) -> float:
    """A quotient; nan where there is nothing to have a share of."""
    return part / whole if whole else math.nan


def _rank_share(found: Findings) -> float:
    """The rank of the targets over its greatest value so far."""
    return _share(found.recent("target_rank"), found.best("target_rank"))


def _low_rank(found: Findings, limits: Thresholds) -> bool:
    """Whether the rank is low, or was and has hardly recovered."""
    share = _rank_share(found)
    was_low = found.lowest("target_rank") < limits.collapsing_rank * found.best("target_rank")
    return share < limits.collapsing_rank or (was_low and share < limits.recovered_rank)


def _better_than_initial(found: Findings, limits: Thresholds) -> bool:
    """Whether labels say that features became better: then fewer directions are no collapse."""
    values = found.values("knn")
    needed = found.recent("knn_init") + limits.better_knn * found.noise()
    # The newest too: it is measured more rarely than the rank, and older ones knew no fall.
    return found.recent("knn") > needed and bool(values[-1] > needed)


def _improved(found: Findings, limits: Thresholds, since: int) -> bool:
    """Whether rank or k-NN are better than at a step, and neither is bad."""
    rank = _share(found.recent("target_rank"), found.at("target_rank", since))
    knn = found.recent("knn") - found.at("knn", since)
    gain = limits.better_knn * found.noise()
    fell = rank < 2 - limits.better_rank or knn < -gain
    low = _rank_share(found) < limits.sound_rank
    worse = found.recent("knn") < found.recent("knn_init") - gain
    return not (fell or low or worse) and (rank > limits.better_rank or knn > gain)


def _collapse(found: Findings, kind: Kind, name: str) -> Verdict:
    before = found.recent("knn_init") if name == "knn" else found.best(name)
    changes = {
        "target_rank": "rank fell from {:.3g} to {:.3g}",
        "target_std": "the spread of tokens fell from {:.2g} to {:.2g}",
        "knn": "k-NN fell from {:.3f} at the start to {:.3f}",
    }
    said = changes[name].format(before, found.recent(name))
    hint = (
        "try a slower target (model.target={name: ema, start: 0.996}), a lower optim.lr or "
        "model.objective.normalise=batch"
    )
    return Verdict(kind, f"{kind.value}: {said}", hint, found.evidence())
