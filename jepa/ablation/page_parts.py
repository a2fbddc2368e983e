"""Tables and lists of the page, as HTML. Every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from jepa.ablation import tables
from jepa.ablation.outcome import Outcome
from jepa.ablation.telling import Findings


def results(found: Findings) -> str:
    """The table: scores and differences to the reference, baselines below."""
    if not found.summary.measures:
        return "<p>No run is done yet.</p>"
    rows = [_line(_cells(line)) for line in tables.variants(found)]
    rows += [_line(_cells(line), "baseline") for line in tables.baselines(found)]
    legend = (
        "Mean over seeds ± half its 95% interval, with its ends below. Bold: the best mean. "
        "Differences are paired by seed. In the plots small dots are single seeds."
    )
    return f'{_table(tables.head(found), rows)}<p class="small">{escape(legend)}</p>'


def costs(found: Findings) -> str:
    """Operations, counted, and seconds, measured."""
    rows = [_line([_label(label), *map(escape, texts)]) for label, *texts in tables.costs(found)]
    told = (
        f"Operations are counted at the mean numbers of tokens of the masks. {tables.timed(found)}"
    )
    head = ["variant", "a sample", "a run", "time of a run"]
    return f'{_table(head, rows)}<p class="small">{escape(told)}</p>'


def runs(found: Findings) -> str:
    """How each run stands, and the commands that make it again."""
    rows = [
        _line([_label(o.run.name), _status(o), str(o.step), _label(o.reason)])
        for o in found.outcomes
    ]
    return (
        f"{_table(['run', 'status', 'step', 'reason'], rows)}"
        "<details><summary>The commands that make each run again</summary>"
        f"<p>{escape(found.place)}</p><pre>{escape(tables.commands(found))}</pre></details>"
    )


def listed(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in sentences)}</ul>"


def _cells(line: tables.Line) -> list[str]:
    cells = [_label(line.label), line.seeds]
    for each in line.cells:
        first, ends = _parted(each.score)
        best = each.place == "best"
        score = f'<span class="best">{escape(first)}</span>' if best else escape(first)
        apart, between = _parted(each.difference)
        cells.append(score + _small(ends) + _small(each.placed))
        cells.append(escape(apart) + _small(between) + _small(each.said, each.verdict))
    return cells


def _parted(text: str) -> tuple[str, str]:
    """`41.2 ± 1.0`, and its ends or what else stands in brackets behind it."""
    first, _, rest = text.partition(" (")
    return first, rest.removesuffix(")")


def _small(text: str, kind: str = "") -> str:
    return f'<span class="small {kind}">{escape(text)}</span>' if text else ""


def _status(outcome: Outcome) -> str:
    kind = ' class="failed"' if outcome.status == "failed" else ""
    return f"<span{kind}>{escape(outcome.status)}</span>"


def _label(text: str) -> str:
    return f'<div class="label">{escape(text)}</div>'


def _line(cells: Sequence[str], kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<tr{named}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
