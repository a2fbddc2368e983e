"""A comparison as a table for the terminal."""

from __future__ import annotations

from rich.table import Table

from jepa.evaluation.comparison import ACCURACY, Comparison, Row
from jepa.evaluation.intervals import Interval

TABLE_WIDTH = 80
"""Columns in which `table` cuts nothing."""


def table(comparison: Comparison) -> Table:
    """A table for the terminal, a block of lines a protocol."""
    errors = any(row.metric != ACCURACY for row in comparison.rows)
    measure = "Scores" if errors else "Accuracy"
    averaged = _parts(comparison.test_parts, comparison.test_samples, ", averaged")
    fitted = _parts(comparison.train_parts, comparison.train_samples, "")
    shown = Table(
        title=f"{measure} on {comparison.test_samples:,} test samples{averaged}"
        f"{_classes(comparison)};\nprobes fitted on {comparison.train_samples:,} samples{fitted}; "
        "brackets: 95% intervals",
        caption=_caption(comparison),
        caption_justify="left",
        title_justify="left",
        title_style="bold",
    )
    shown.add_column("probe")
    shown.add_column("features")
    shown.add_column("score" if errors else "accuracy", justify="right", no_wrap=True)
    shown.add_column(
        "trained minus this" if errors else "trained is ahead by", justify="right", no_wrap=True
    )
    for place, row in enumerate(comparison.rows):
        opens = place == 0 or row.protocol != comparison.rows[place - 1].protocol
        if opens and place:
            shown.add_section()
        name = row.features if row.sets == 1 else f"{row.features} ({row.sets} seeds)"
        shown.add_row(
            row.protocol if opens else "",
            name,
            _score(row),
            _difference(row),
            style="bold" if row.trained_minus_this is None else None,
        )
    return shown


def _parts(parts: int, samples: int, how: str) -> str:
    return f" ({parts:,} parts{how})" if parts != samples else ""


def _classes(comparison: Comparison) -> str:
    told = any(row.metric == ACCURACY for row in comparison.rows)
    return f" of {comparison.classes} classes" if told else ""


def _caption(comparison: Comparison) -> str | None:
    """What a reader must know besides: repeated fits, and errors of which less is better."""
    lines = []
    for row in comparison.rows:
        if row.trained_minus_this is not None:
            continue
        if row.metric != ACCURACY:
            lines.append(f"{row.protocol}: {row.metric}, less is better")
        if row.spread is not None:
            scale = 100 if row.metric == ACCURACY else 1
            lines.append(
                f"{row.protocol}: mean of {row.repetitions} draws; trained, standard deviation "
                f"over them {scale * row.spread:.2g}"
            )
    return "\n".join(lines) or None


def _score(row: Row) -> str:
    if row.metric == ACCURACY:
        low, value, high = _percents(row.score)
        return f"{value:.1f}% [{low:.1f}, {high:.1f}]"
    return f"{row.score.value:.3f} [{row.score.low:.3f}, {row.score.high:.3f}]"


def _difference(row: Row) -> str:
    found = row.trained_minus_this
    if found is None:
        return ""
    if row.metric == ACCURACY:
        low, value, high = _percents(found)
        return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _percents(interval: Interval) -> tuple[float, float, float]:
    return 100 * interval.low, 100 * interval.value, 100 * interval.high
