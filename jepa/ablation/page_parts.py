"""Tables and lists of the page, as HTML. Every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from jepa.ablation import wording
from jepa.ablation.costs import mean_seconds
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import shell
from jepa.ablation.statistics import Estimate
from jepa.ablation.summary import Measure, Row
from jepa.ablation.telling import Findings


def results(found: Findings) -> str:
    """The table: scores and differences to the reference, baselines below."""
    measures = found.summary.measures
    if not measures:
        return "<p>No run is done yet.</p>"
    head = ["variant", "seeds"]
    for measure in measures:
        head += [escape(wording.title(measure)), "minus reference"]
    rows = [_line(_row(found, row)) for row in found.summary.rows]
    for name, of_measure in found.summary.baselines.items():
        if of_measure:
            cells = [_label(name), ""]
            for measure in measures:
                cells += [_score(wording.baseline(measure, of_measure.get(measure.name))), ""]
            rows.append(_line(cells, "baseline"))
    legend = (
        "Mean over seeds ± half its 95% interval, with its ends below. Bold: the best mean. "
        "Differences are paired by seed."
    )
    return f'{_table(head, rows)}<p class="small">{escape(legend)}</p>'


def costs(found: Findings) -> str:
    """Operations, counted, and seconds, measured."""
    rows = []
    for variant in found.sweep.variants:
        first = found.expenses[found.of(variant)[0].run.name]
        spent = found.spent(variant)
        whole = wording.operations(spent[0].flops) if spent else "-"
        seconds = wording.duration(mean_seconds(spent)) if spent else "-"
        each = wording.operations(first.flops_per_sample)
        rows.append(_line([_label(variant.label), escape(each), escape(whole), escape(seconds)]))
    beside = found.sweep.config.parallel
    shared = f", {beside} runs at a time" if beside > 1 else ""
    told = (
        "Operations are counted at the mean numbers of tokens of the masks. Time is that of "
        f"training alone, at each run's median rate{shared}; the mean over seeds."
    )
    head = ["variant", "a sample", "a run", "time of a run"]
    return f'{_table(head, rows)}<p class="small">{escape(told)}</p>'


def runs(found: Findings) -> str:
    """How each run stands, and the commands that make it again."""
    rows = [
        _line([_label(o.run.name), _status(o), str(o.step), _label(o.reason)])
        for o in found.outcomes
    ]
    head = ["run", "status", "step", "reason"]
    lines = "\n\n".join(
        f"# {' '.join(o.run.name.split())}\n{shell(o.run.train_command)}\n"
        f"{shell(o.run.eval_command)}"
        for o in found.outcomes
    )
    return (
        f"{_table(head, rows)}<details><summary>The commands that make each run again</summary>"
        f"<pre>{escape(lines)}</pre></details>"
    )


def listed(sentences: Iterable[str]) -> str:
    """Sentences as a list."""
    return f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in sentences)}</ul>"


def _row(found: Findings, row: Row) -> list[str]:
    cells = [_label(row.variant.label), found.seeds(row)]
    for measure in found.summary.measures:
        standing = row.standings[measure.name]
        text = wording.score(measure, standing.score)
        told = wording.PLACES[standing.place] if standing.score is not None else ""
        if len(found.summary.rows) == 1:
            told = ""
        cells += [_score(text, told, standing.place == "best"), _difference(found, row, measure)]
    return cells


def _score(text: str, told: str = "", best: bool = False) -> str:
    """`41.2 ± 1.0`, its ends below, and how it stands beside the best."""
    first, _, rest = text.partition(" (")
    shown = f'<span class="best">{escape(first)}</span>' if best else escape(first)
    below = [f"{rest}".replace(")", "")] if rest else []
    return shown + "".join(
        f'<span class="small">{escape(line)}</span>' for line in [*below, *filter(None, [told])]
    )


def _difference(found: Findings, row: Row, measure: Measure) -> str:
    if row.variant == found.sweep.reference:
        return '<span class="small">reference</span>'
    standing = row.standings[measure.name]
    difference: Estimate | None = standing.to_reference
    if difference is None:
        return "-"
    first, _, rest = wording.difference(measure, difference).partition(" (")
    said = wording.VERDICTS[standing.against_reference]
    ends = f'<span class="small">{escape(rest.rstrip(")"))}</span>' if rest else ""
    kind = standing.against_reference
    return f'{escape(first)}{ends}<span class="small {kind}">{escape(said)}</span>'


def _status(outcome: Outcome) -> str:
    kind = ' class="failed"' if outcome.status == "failed" else ""
    return f"<span{kind}>{escape(outcome.status)}</span>"


def _label(text: str) -> str:
    return f'<div class="label">{escape(text)}</div>'


def _line(cells: Sequence[str], kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<tr{named}>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    heads = "".join(f'<th scope="col">{name}</th>' for name in head)
    return (
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )
