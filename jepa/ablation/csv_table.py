"""`results.csv`: a row a run, with everything that was measured, for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from jepa.ablation.costs import Expense
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep, shell
from jepa.evaluation.candidates import RANDOM, RAW, TRAINED

SECONDS = "seconds"
"""The one column that two sweeps of the same runs do not share."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_ABSENT = ""


def csv_table(sweep: Sweep, outcomes: Sequence[Outcome], expenses: Mapping[str, Expense]) -> str:
    """The table as text.

    Scores are shares or errors as measured, with 95% intervals over test samples. What was not
    measured is empty. Text that a spreadsheet would take for a formula has a `'` before it.

    Args:
        sweep: that the runs are of.
        outcomes: a row each, in their order.
        expenses: by the name of the run.
    """
    rows = [_row(sweep, outcome, expenses[outcome.run.name]) for outcome in outcomes]
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = csv.DictWriter(out, names, restval=_ABSENT, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return out.getvalue()


def _row(sweep: Sweep, outcome: Outcome, spent: Expense) -> dict[str, str]:
    run = outcome.run
    row = {"label": _text(run.variant.label)}
    row |= {key: _value(run.variant.settings.get(key)) for key in sweep.config.vary}
    row |= {
        "seed": str(run.seed),
        "status": outcome.status,
        "reason": _text(outcome.reason),
        "step": str(outcome.step),
        "samples": str(spent.samples),
    }
    for part in sweep.config.measure:
        row |= _scores(outcome, part.name)
    giga = None if spent.flops_per_sample is None else spent.flops_per_sample / 1e9
    tera = None if spent.flops is None else spent.flops / 1e12
    return row | {
        "gflops_per_sample": _number(giga),
        "tflops": _number(tera),
        SECONDS: _number(spent.seconds),
        "train_command": shell(run.train_command),
        "eval_command": shell(run.eval_command),
    }


def _scores(outcome: Outcome, protocol: str) -> dict[str, str]:
    """The columns of one protocol, the same in every row."""
    found = outcome.scores.get(protocol, {})
    metrics = {score.metric for score in found.values()}
    cells = {f"{protocol} metric": _text(min(metrics, default=_ABSENT))}
    for features in (TRAINED, RANDOM, RAW):
        score = found.get(features)
        for end in ("value", "low", "high"):
            named = f"{protocol} {features}" if end == "value" else f"{protocol} {features} {end}"
            cells[named] = _ABSENT if score is None else _number(getattr(score, end))
    return cells


def _number(value: float | None) -> str:
    """All digits that count of a measured number."""
    return _ABSENT if value is None else f"{value:.9g}"


def _value(value: object) -> str:
    """A varied value as `key=value` on a command line takes it."""
    return _text(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    )


def _text(text: str) -> str:
    """Text that no spreadsheet computes; a number is no formula."""
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
