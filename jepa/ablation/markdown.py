"""`results.md`: the table, what it says, and how each row is made again.

The same outcomes give the same text, but for the line under the title and the last section, which
tell of the machine and its time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from jepa.ablation import tables
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
    if not found.summary.measures:
        return "No run is done yet."
    rows = [[cell(line.label), *_cells(line)] for line in tables.variants(found)]
    rows += [[f"*{line.label}*", *_cells(line)] for line in tables.baselines(found)]
    return _table([cell(name) for name in tables.head(found)], rows)


def _cells(line: tables.Line) -> list[str]:
    texts = [line.seeds]
    for each in line.cells:
        marked = {"best": f"**{each.score}**", "level": f"{each.score} ≈"}
        texts.append(marked.get(each.place or "", each.score))
        texts.append(f"{each.difference} {each.said}".strip())
    return texts


def _costs(found: Findings) -> str:
    rows = [[cell(label), sample, run] for label, sample, run, _ in tables.costs(found)]
    return _table(["variant", "a sample", "a run"], rows)


def _not_done(found: Findings) -> list[str]:
    rows = [
        [cell(outcome.run.name), outcome.status, cell(outcome.reason)]
        for outcome in found.outcomes
        if outcome.status != "done"
    ]
    return ["## Runs that are not done", _table(["run", "status", "reason"], rows)] if rows else []


def _commands(found: Findings) -> str:
    text = tables.commands(found)
    fence = "`" * max(3, 1 + max((len(ticks) for ticks in re.findall("`+", text)), default=0))
    return f"{cell(found.place)}\n\n{fence}sh\n{text}\n{fence}"


def _times(found: Findings) -> str:
    rows = [[cell(label), seconds] for label, *_, seconds in tables.costs(found)]
    return f"{tables.timed(found)}\n\n{_table(['variant', 'a run'], rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
