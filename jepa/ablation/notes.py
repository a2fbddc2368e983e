"""What can and cannot be concluded from a sweep, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs

from jepa.ablation import wording
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep
from jepa.ablation.statistics import Estimate, Verdict
from jepa.ablation.summary import Measure, Place, Row, Summary

_TRAINED: Mapping[Verdict, str] = MappingProxyType(
    {
        "better": "better than their own untrained network",
        "open": "not told apart from it",
        "worse": "worse than it",
        "unknown": "without an interval beside it",
    }
)
"""How a trained network stands beside the same one untrained."""


def notes(sweep: Sweep, outcomes: Sequence[Outcome], summary: Summary) -> list[str]:
    """Sentences, the findings first."""
    lines: list[str] = []
    for measure in summary.measures:
        lines += _best(measure, sweep, summary)
        lines += _against_reference(measure, sweep, summary)
        lines += _against_random(measure, summary)
    return [*lines, *_caveats(sweep, outcomes, summary)]


def _best(measure: Measure, sweep: Sweep, summary: Summary) -> Iterator[str]:
    known = [row for row in summary.rows if row.standings[measure.name].score is not None]
    if len(known) < 2:
        return
    places: dict[Place, list[str]] = {}
    for row in known:
        places.setdefault(row.standings[measure.name].place, []).append(_label(row))
    first = " and ".join(places["best"])
    said = [f"On {measure.name} the best mean is that of {first}"]
    if "level" in places:
        said.append(f"not told apart from it: {', '.join(places['level'])}")
    if "behind" in places:
        said.append(f"behind it: {', '.join(places['behind'])}")
    if "unknown" in places and len(sweep.config.seeds) > 1:
        said.append(f"no interval to compare it with: {', '.join(places['unknown'])}")
    yield "; ".join(said) + "."


def _against_reference(measure: Measure, sweep: Sweep, summary: Summary) -> Iterator[str]:
    reference = _quoted(sweep.reference.label)
    for row in summary.rows:
        standing = row.standings[measure.name]
        found = standing.to_reference
        if found is None or len(sweep.config.seeds) == 1:
            continue
        who = f"On {measure.name}, {_label(row)}"
        match standing.against_reference:
            case "open":
                yield (
                    f"{who} and {reference} are not told apart: the difference is "
                    f"{wording.difference(measure, found)}."
                )
            case "unknown":
                seeds = "one seed" if found.n == 1 else f"each of {found.n} seeds alike"
                yield (
                    f"{who} {_side(measure, found, reference)} with {seeds}, from which nothing "
                    "can be concluded."
                )
            case _:
                yield f"{who} {_side(measure, found, reference)}."


def _side(measure: Measure, found: Estimate, reference: str) -> str:
    """`is above a by 3.0`, or `equals a`."""
    if found.mean == 0:
        return f"equals {reference}"
    above, below = ("above", "below") if measure.more_is_better else ("worse than", "better than")
    side = above if found.mean > 0 else below
    return f"is {side} {reference} by {wording.apart(measure, found)}"


def _against_random(measure: Measure, summary: Summary) -> Iterator[str]:
    """Whether training was worth anything."""
    told: dict[Verdict, list[str]] = {}
    for row in summary.rows:
        standing = row.standings[measure.name]
        if standing.to_random is not None:
            apart = wording.difference(measure, attrs.evolve(standing.to_random, half=None))
            told.setdefault(standing.against_random, []).append(f"{_label(row)} ({apart})")
    # Without any interval there is nothing to say.
    if told.keys() - {"unknown"}:
        said = [
            f"{words}: {', '.join(told.get(kind, ['none']))}"
            for kind, words in _TRAINED.items()
            if kind in told or kind == "better"
        ]
        yield f"On {measure.name}, {'; '.join(said)}."


def _caveats(sweep: Sweep, outcomes: Sequence[Outcome], summary: Summary) -> Iterator[str]:
    done = sum(outcome.status == "done" for outcome in outcomes)
    if done < len(sweep.runs):
        yield (
            f"{done} of {len(sweep.runs)} runs are done. Means are over what is measured, so they "
            "may change, and means over different seeds do not compare: the differences do, which "
            "are over the seeds that both have."
        )
    if len(sweep.config.seeds) == 1:
        yield "With one seed there are no intervals, and nothing is called better or worse."
    elif len(sweep.config.seeds) == 2:
        yield "With two seeds intervals are wide (Student's t is 12.7): more seeds tell more."
    if len(sweep.variants) > 2 and len(sweep.config.seeds) > 1:
        yield (
            "Each interval is for its own comparison. Among many comparisons one in twenty "
            "excludes 0 by chance; nothing is corrected for that."
        )
    if _alike(summary):
        yield (
            "Where all seeds gave the same score, or the same difference, there is no interval: "
            "scores are shares of a few test samples, so that happens by chance and proves nothing."
        )
    yield (
        "Intervals are 95%, Student's t over seeds; differences are paired by seed. They say what "
        "training again would change, and nothing of other data, longer training or larger models."
    )
    differ = [] if summary.one_start else ["untrained networks"]
    differ += [] if summary.one_content else ["raw content"]
    if differ:
        yield (
            f"{' and '.join(differ).capitalize()} differ between variants; that in the table is of "
            f"{_quoted(sweep.reference.label)}, the rest stands in results.csv."
        )


def _alike(summary: Summary) -> bool:
    """Whether several seeds gave the same anywhere."""
    found = [
        each
        for row in summary.rows
        for standing in row.standings.values()
        for each in (standing.score, standing.to_reference, standing.to_best)
    ]
    return any(each is not None and each.half is None and each.n > 1 for each in found)


def _label(row: Row) -> str:
    return _quoted(row.variant.label)


def _quoted(label: str) -> str:
    """A label inside a sentence; one with spaces is set apart."""
    text = " ".join(label.split())
    return f"'{text}'" if " " in text or "," in text else text
