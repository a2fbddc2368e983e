"""The tables of a sweep as plain texts, which the Markdown and the page both show."""

from __future__ import annotations

import attrs

from jepa.ablation import wording
from jepa.ablation.costs import mean_seconds
from jepa.ablation.plan import shell
from jepa.ablation.statistics import Verdict
from jepa.ablation.summary import Measure, Place, Row
from jepa.ablation.telling import Findings


@attrs.frozen(kw_only=True)
class Cell:
    """One row by one measure.

    Args:
        score: `41.2 ± 1.0 (40.2 to 42.2)`.
        place: beside the best; None of a baseline, and where there is nothing beside it.
        placed: that in words.
        difference: to the reference; empty where there can be none.
        verdict: what the difference says.
        said: that in words.
    """

    score: str
    place: Place | None = None
    placed: str = ""
    difference: str = ""
    verdict: Verdict = "unknown"
    said: str = ""


@attrs.frozen(kw_only=True)
class Line:
    """One row: a variant or a baseline, the seeds that are done, and a cell a measure."""

    label: str
    seeds: str
    cells: tuple[Cell, ...]


def head(found: Findings) -> list[str]:
    """The heads of the columns: two, and two a measure."""
    of_measures = [(wording.title(each), "minus reference") for each in found.summary.measures]
    return ["variant", "seeds", *(name for both in of_measures for name in both)]


def variants(found: Findings) -> list[Line]:
    """A line a variant."""
    return [
        Line(
            label=row.variant.label,
            seeds=found.seeds(row),
            cells=tuple(_cell(found, row, measure) for measure in found.summary.measures),
        )
        for row in found.summary.rows
    ]


def baselines(found: Findings) -> list[Line]:
    """A line a baseline that was measured."""
    return [
        Line(
            label=name,
            seeds="",
            cells=tuple(
                Cell(score=wording.baseline(measure, scores.get(measure.name)))
                for measure in found.summary.measures
            ),
        )
        for name, scores in found.summary.baselines.items()
        if scores
    ]


def costs(found: Findings) -> list[tuple[str, str, str, str]]:
    """A variant's label, operations of a sample and of a run, and the time of a run."""
    rows = []
    for variant in found.sweep.variants:
        first = found.expenses[found.of(variant)[0].run.name]
        spent = found.spent(variant)
        whole = wording.operations(spent[0].flops) if spent else "-"
        seconds = wording.duration(mean_seconds(spent)) if spent else "-"
        rows.append((variant.label, wording.operations(first.flops_per_sample), whole, seconds))
    return rows


def timed(found: Findings) -> str:
    """What the time of a run is."""
    beside = found.sweep.config.parallel
    shared = f", {beside} runs at a time" if beside > 1 else ""
    return f"Time is of training alone, at each run's median rate{shared}; the mean over seeds."


def commands(found: Findings) -> str:
    """The commands that make and measure each run, for a shell."""
    return "\n\n".join(
        f"# {' '.join(outcome.run.name.split())}\n{shell(outcome.run.train_command)}\n"
        f"{shell(outcome.run.eval_command)}"
        for outcome in found.outcomes
    )


def _cell(found: Findings, row: Row, measure: Measure) -> Cell:
    standing = row.standings[measure.name]
    alone = len(found.summary.rows) == 1
    cell = Cell(
        score=wording.score(measure, standing.score),
        place=None if alone or standing.score is None else standing.place,
        placed="" if alone else wording.place(standing),
    )
    if row.variant == found.sweep.reference:
        return attrs.evolve(cell, said="reference")
    if standing.to_reference is None:
        return attrs.evolve(cell, difference="-")
    return attrs.evolve(
        cell,
        difference=wording.difference(measure, standing.to_reference),
        verdict=standing.against_reference,
        said=wording.against_reference(standing),
    )
