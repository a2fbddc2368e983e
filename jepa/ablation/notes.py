"""What can and cannot be concluded from a sweep, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jepa.ablation import wording
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep
from jepa.ablation.summary import Measure, Row, Summary


def notes(sweep: Sweep, outcomes: Sequence[Outcome], summary: Summary) -> list[str]:
    """Sentences, the findings first."""
    lines: list[str] = []
    for measure in summary.measures:
        lines += _best(measure, sweep, summary)
        lines += _against_reference(measure, sweep, summary)
        lines += _against_random(measure, sweep, summary)
    return [*lines, *_caveats(sweep, outcomes, summary)]


def _best(measure: Measure, sweep: Sweep, summary: Summary) -> Iterator[str]:
    known = [row for row in summary.rows if row.standings[measure.name].score is not None]
    if len(known) < 2:
        return
    by_place = {
        place: [_label(row) for row in known if row.standings[measure.name].place == place]
        for place in wording.PLACES
    }
    said = [f"On {measure.name} the best mean is that of {by_place['best'][0]}"]
    if by_place["level"]:
        said.append(f"not told apart from it: {', '.join(by_place['level'])}")
    if by_place["behind"]:
        said.append(f"behind it: {', '.join(by_place['behind'])}")
    if by_place["unknown"] and len(sweep.config.seeds) > 1:
        said.append(f"too few seeds to compare it with: {', '.join(by_place['unknown'])}")
    yield "; ".join(said) + "."


def _against_reference(measure: Measure, sweep: Sweep, summary: Summary) -> Iterator[str]:
    reference = _quoted(sweep.reference.label)
    above, below = ("above", "below") if measure.more_is_better else ("worse than", "better than")
    for row in summary.rows:
        standing = row.standings[measure.name]
        found = standing.to_reference
        if found is None or len(sweep.config.seeds) == 1:
            continue
        apart = wording.apart(measure, found)
        side = above if found.mean > 0 else below
        match standing.against_reference:
            case "open":
                yield (
                    f"On {measure.name}, {_label(row)} and {reference} are not told apart: the "
                    f"difference is {wording.difference(measure, found)}."
                )
            case "unknown":
                yield (
                    f"On {measure.name}, {_label(row)} is {side} {reference} by {apart} with one "
                    "seed, from which nothing can be concluded."
                )
            case _:
                yield f"On {measure.name}, {_label(row)} is {side} {reference} by {apart}."


def _against_random(measure: Measure, sweep: Sweep, summary: Summary) -> Iterator[str]:
    """Whether training the reference was worth anything."""
    for row in summary.rows:
        found = row.standings[measure.name].to_random
        if row.variant != sweep.reference or found is None or found.half is None:
            continue
        gain = found.mean if measure.more_is_better else -found.mean
        apart = wording.apart(measure, found)
        who = f"On {measure.name}, {_label(row)}"
        if abs(found.mean) <= found.half:
            told = wording.difference(measure, found)
            yield f"{who} is not told apart from its own untrained network: {told}."
        elif gain > 0:
            yield f"{who} is better than its own untrained network by {apart}."
        else:
            yield f"{who} is worse than its own untrained network by {apart}."


def _caveats(sweep: Sweep, outcomes: Sequence[Outcome], summary: Summary) -> Iterator[str]:
    done = sum(outcome.status == "done" for outcome in outcomes)
    if done < len(sweep.runs):
        yield (
            f"{done} of {len(sweep.runs)} runs are done. Means are over those alone, so they may "
            "change, and means over different seeds do not compare: the differences do, which are "
            "over the seeds that both have."
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
    yield (
        "Intervals are 95%, Student's t over seeds; differences are paired by seed. They say what "
        "training again would change, and nothing of other data, longer training or larger models."
    )
    if not summary.shared:
        yield (
            "Untrained networks and raw content differ between variants; those in the table are "
            f"of {_quoted(sweep.reference.label)}, the others stand in results.csv."
        )


def _label(row: Row) -> str:
    return _quoted(row.variant.label)


def _quoted(label: str) -> str:
    """A label inside a sentence; one with spaces is set apart."""
    text = " ".join(label.split())
    return f"'{text}'" if " " in text or "," in text else text
