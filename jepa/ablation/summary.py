"""The table of a sweep as values: each variant beside the reference and beside the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import attrs

from jepa.ablation.outcome import Outcome, Score
from jepa.ablation.plan import Run, Sweep, Variant
from jepa.ablation.statistics import Estimate, Verdict, estimate, paired, same, verdict
from jepa.evaluation.candidates import RANDOM, RAW, TRAINED
from jepa.evaluation.comparison import ACCURACY

Place = Literal["best", "level", "behind", "unknown"]
"""Beside the best mean: it itself or equal, not told apart, worse, or without an interval."""

Scores = Mapping[int, float]
"""Seed -> score."""


@attrs.frozen
class Measure:
    """A protocol and what it scores by: `accuracy`, or an error of which less is better."""

    name: str
    metric: str

    @property
    def more_is_better(self) -> bool:
        """Whether the best is the greatest."""
        return self.metric == ACCURACY


@attrs.frozen(kw_only=True)
class Standing:
    """One variant by one measure.

    Args:
        scores: of the seeds that are done.
        score: over them; None before the first.
        to_reference: paired difference to the reference; None for itself, or without pairs.
        against_reference: what that difference says.
        to_best: paired difference to the best; None for itself, or without pairs.
        place: what that difference says.
        to_random: paired difference to the untrained network of the same seed; None without.
        against_random: what that difference says.
    """

    scores: Scores
    score: Estimate | None
    to_reference: Estimate | None
    against_reference: Verdict
    to_best: Estimate | None
    place: Place
    to_random: Estimate | None
    against_random: Verdict


@attrs.frozen(kw_only=True)
class Row:
    """One variant: how many of its seeds are done, and how it stands by each measure."""

    variant: Variant
    done: int
    standings: Mapping[str, Standing]


@attrs.frozen(kw_only=True)
class Summary:
    """What the outcomes of a sweep say.

    Args:
        measures: in the order of the sweep's file; those that no run has yet are left out.
        rows: in the order of the variants.
        baselines: features -> measure -> mean over seeds, of the reference variant.
        one_start: whether every variant has the reference's untrained network.
        one_content: whether every variant has the reference's raw content.
    """

    measures: tuple[Measure, ...]
    rows: tuple[Row, ...]
    baselines: Mapping[str, Mapping[str, Estimate]]
    one_start: bool
    one_content: bool


def summarise(sweep: Sweep, outcomes: Sequence[Outcome]) -> Summary:
    """Means, differences and places, over what is measured.

    A score counts though another protocol failed on the same run.
    """
    done = [outcome for outcome in outcomes if outcome.status == "done"]
    scored = [outcome for outcome in outcomes if outcome.scores]
    measures = _measures(sweep, scored)
    standings = {measure.name: _standings(sweep, scored, measure) for measure in measures}
    rows = tuple(
        Row(
            variant=variant,
            done=sum(outcome.run.variant == variant for outcome in done),
            standings={name: found[variant.label] for name, found in standings.items()},
        )
        for variant in sweep.variants
    )
    return Summary(
        measures=measures,
        rows=rows,
        baselines=_baselines(sweep, scored, measures),
        one_start=all(run.start == sweep.runs[0].start for run in sweep.runs),
        one_content=all(run.content == sweep.runs[0].content for run in sweep.runs),
    )


def _measures(sweep: Sweep, scored: Sequence[Outcome]) -> tuple[Measure, ...]:
    metrics = {
        name: score.metric
        for outcome in reversed(scored)
        for name, found in outcome.scores.items()
        for score in found.values()
    }
    asked = [part.name for part in sweep.config.measure]
    return tuple(Measure(name, metrics[name]) for name in asked if name in metrics)


def _standings(sweep: Sweep, scored: Sequence[Outcome], measure: Measure) -> dict[str, Standing]:
    """How each variant stands by one measure, by label."""
    scores = {variant.label: _trained(variant, scored, measure) for variant in sweep.variants}
    means = {label: found for label, values in scores.items() if (found := _estimate(values))}
    sign = 1 if measure.more_is_better else -1
    best = max(means, key=lambda label: sign * means[label].mean, default=None)
    reference = sweep.reference.label
    standings = {}
    for variant in sweep.variants:
        label, own = variant.label, scores[variant.label]
        to_reference = None if label == reference else paired(own, scores[reference])
        to_best = None if best is None or label == best else paired(own, scores[best])
        to_random = paired(own, _baseline(sweep, variant, scored, measure, RANDOM))
        mean = means.get(label)
        ties = mean is not None and best is not None and same(mean.mean, means[best].mean)
        standings[label] = Standing(
            scores=own,
            score=mean,
            to_reference=to_reference,
            against_reference=verdict(to_reference, measure.more_is_better),
            to_best=to_best,
            place="best" if ties else _place(to_best, measure),
            to_random=to_random,
            against_random=verdict(to_random, measure.more_is_better),
        )
    return standings


def _place(to_best: Estimate | None, measure: Measure) -> Place:
    said = verdict(to_best, measure.more_is_better)
    # The best mean over more seeds can be worse over those that both have.
    return "unknown" if said == "unknown" else "behind" if said == "worse" else "level"


def _estimate(scores: Scores) -> Estimate | None:
    return estimate([scores[seed] for seed in sorted(scores)])


def _trained(variant: Variant, scored: Sequence[Outcome], measure: Measure) -> dict[int, float]:
    found = {
        outcome.run.seed: _score(outcome, measure, TRAINED)
        for outcome in scored
        if outcome.run.variant == variant
    }
    return {seed: score.value for seed, score in found.items() if score is not None}


def _baselines(
    sweep: Sweep, scored: Sequence[Outcome], measures: Sequence[Measure]
) -> dict[str, dict[str, Estimate]]:
    return {
        features: {
            measure.name: found
            for measure in measures
            if (found := _estimate(_baseline(sweep, sweep.reference, scored, measure, features)))
        }
        for features in (RANDOM, RAW)
    }


def _baseline(
    sweep: Sweep, variant: Variant, scored: Sequence[Outcome], measure: Measure, features: str
) -> dict[int, float]:
    """Scores of a baseline of a variant, which another run that shares it may have measured."""

    def base(run: Run) -> tuple[object, ...]:
        return run.content if features == RAW else run.start

    own = next(base(run) for run in sweep.runs if run.variant == variant)
    found: dict[int, float] = {}
    for outcome in scored:
        score = _score(outcome, measure, features)
        if score is not None and base(outcome.run) == own:
            found.setdefault(outcome.run.seed, score.value)
    return found


def _score(outcome: Outcome, measure: Measure, features: str) -> Score | None:
    return outcome.scores.get(measure.name, {}).get(features)
