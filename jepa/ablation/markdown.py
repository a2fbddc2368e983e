"""`results.md`: the table, what it says, and how each row is made again.

The same outcomes give the same text, but for the line under the title and the last section, which
tell of the machine and its time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from jepa.ablation import wording
from jepa.ablation.costs import mean_seconds
from jepa.ablation.plan import shell
from jepa.ablation.statistics import Estimate
from jepa.ablation.summary import Measure, Row
from jepa.ablation.telling import Findings

_LEGEND = (
    "Mean over seeds ± half the 95% interval, which stands in brackets. **Bold** is the best mean; "
    "≈ marks what is not told apart from it."
)


def markdown(found: Findings) -> str:
    """The text of the file."""
    sections = [
        f"# {cell(found.title)}",
        f"`{found.command}`  \n{cell(found.where)}",
        "\n".join(f"- {name}: {cell(text)}" for name, text in found.facts.items()),
        *("## Results", _results(found), _LEGEND),
        *("## What can be concluded", "\n".join(f"- {cell(note)}" for note in found.notes)),
        *("## Cost", _costs(found)),
        *_not_done(found),
        *("## Commands", _commands(found)),
        *("## Time", _times(found)),
    ]
    return "\n\n".join(sections) + "\n"


def cell(text: str) -> str:
    """Plain text on one line, in which Markdown and HTML mean nothing."""
    line = re.sub(r"([\\`*<>|\[\]])", r"\\\1", " ".join(text.split()))
    # Between letters an underscore means nothing.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", line)


def _results(found: Findings) -> str:
    measures = found.summary.measures
    if not measures:
        return "No run is done yet."
    head = ["variant", "seeds"]
    for measure in measures:
        head += [cell(wording.title(measure)), "minus reference"]
    rows = [_row(found, row) for row in found.summary.rows]
    rows += [
        [f"*{name}*", "", *(text for m in measures for text in (_baseline(m, of_measure), ""))]
        for name, of_measure in found.summary.baselines.items()
        if of_measure
    ]
    return _table(head, rows)


def _row(found: Findings, row: Row) -> list[str]:
    cells = [cell(row.variant.label), found.seeds(row)]
    for measure in found.summary.measures:
        standing = row.standings[measure.name]
        text = wording.score(measure, standing.score)
        if standing.place == "best":
            text = f"**{text}**"
        elif standing.place == "level":
            text = f"{text} ≈"
        cells += [text, _difference(found, row, measure)]
    return cells


def _difference(found: Findings, row: Row, measure: Measure) -> str:
    standing = row.standings[measure.name]
    if row.variant == found.sweep.reference:
        return "reference"
    if standing.to_reference is None:
        return "-"
    said = wording.VERDICTS[standing.against_reference]
    return f"{wording.difference(measure, standing.to_reference)} {said}"


def _baseline(measure: Measure, of_measure: Mapping[str, Estimate]) -> str:
    return wording.baseline(measure, of_measure.get(measure.name))


def _costs(found: Findings) -> str:
    rows = []
    for variant in found.sweep.variants:
        first = found.expenses[found.of(variant)[0].run.name]
        whole = [spent.flops for spent in found.spent(variant)]
        told = wording.operations(whole[0]) if whole else "-"
        rows.append([cell(variant.label), wording.operations(first.flops_per_sample), told])
    return _table(["variant", "a sample", "a run"], rows)


def _not_done(found: Findings) -> list[str]:
    rows = [
        [cell(outcome.run.name), outcome.status, cell(outcome.reason)]
        for outcome in found.outcomes
        if outcome.status != "done"
    ]
    return ["## Runs that are not done", _table(["run", "status", "reason"], rows)] if rows else []


def _commands(found: Findings) -> str:
    lines = []
    for outcome in found.outcomes:
        run = outcome.run
        lines += [f"# {' '.join(run.name.split())}", shell(run.train_command)]
        lines += [shell(run.eval_command), ""]
    text = "\n".join(lines).rstrip()
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{fence}sh\n{text}\n{fence}"


def _times(found: Findings) -> str:
    rows = [
        [cell(variant.label), wording.duration(mean_seconds(found.spent(variant)))]
        for variant in found.sweep.variants
    ]
    beside = found.sweep.config.parallel
    shared = f", {beside} runs at a time" if beside > 1 else ""
    told = f"Training alone, at each run's median rate{shared}; the mean over seeds."
    return f"{told}\n\n{_table(['variant', 'a run'], rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
