"""A trained encoder beside the same network untrained and the plain content of the samples.

A score means little alone: a random network is a fair set of features, and so are raw samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from rich.table import Table
from torch import Tensor

from jepa.core.interfaces import Protocol
from jepa.evaluation.features import Labelled
from jepa.evaluation.intervals import Interval, paired_bootstrap, wilson

TABLE_WIDTH = 80
"""Columns in which `table` cuts nothing."""


@attrs.frozen(kw_only=True)
class Candidate:
    """Features to score: one set, or several that are averaged (random inits of several seeds).

    Args:
        name: for tables.
        train: features that protocols fit to, a set each.
        test: features that they are scored on, in the same order of sets.
    """

    name: str
    train: tuple[Labelled, ...]
    test: tuple[Labelled, ...]


@attrs.frozen(kw_only=True)
class Row:
    """One protocol on one candidate.

    Args:
        protocol: its name.
        features: the candidate's name.
        sets: sets of features averaged over.
        accuracy: with Wilson's 95% interval over test samples.
        trained_minus_this: paired difference to the first candidate with its 95% bootstrap
            interval; None for the first itself.
    """

    protocol: str
    features: str
    sets: int
    accuracy: Interval
    trained_minus_this: Interval | None


@attrs.frozen(kw_only=True)
class Comparison:
    """All protocols on all candidates, on the same samples."""

    train_samples: int
    test_samples: int
    classes: int
    rows: tuple[Row, ...]


def compare(
    candidates: Sequence[Candidate],
    protocols: Mapping[str, Protocol],
    classes: int,
    seed: int = 0,
) -> Comparison:
    """Score every candidate by every protocol; differences are to the first candidate.

    Args:
        candidates: on the same samples in the same order.
        protocols: by name.
        classes: that the sources tell apart, whether drawn or not.
        seed: of what protocols and intervals draw.
    """
    rows: list[Row] = []
    for name, protocol in protocols.items():
        first: Tensor | None = None
        for candidate in candidates:
            scores = _scores(protocol, candidate, seed)
            accuracy = wilson(scores.mean().item(), len(scores))
            difference = None if first is None else paired_bootstrap(first, scores, seed)
            first = scores if first is None else first
            rows.append(
                Row(
                    protocol=name,
                    features=candidate.name,
                    sets=len(candidate.train),
                    accuracy=accuracy,
                    trained_minus_this=difference,
                )
            )
    known, asked = candidates[0].train[0].labels, candidates[0].test[0].labels
    return Comparison(
        train_samples=len(known),
        test_samples=len(asked),
        classes=classes,
        rows=tuple(rows),
    )


def _scores(protocol: Protocol, candidate: Candidate, seed: int) -> Tensor:
    """How often each test sample was right, over the candidate's sets: [m] float64."""
    right = [
        protocol.evaluate(train, test, seed)
        for train, test in zip(candidate.train, candidate.test, strict=True)
    ]
    return torch.stack(right).double().mean(0)


def table(comparison: Comparison) -> Table:
    """A table for the terminal, a block of lines a protocol."""
    shown = Table(
        title=f"Accuracy on {comparison.test_samples:,} test samples of {comparison.classes} "
        f"classes; features frozen,\nprobes fitted on {comparison.train_samples:,} samples; "
        "brackets: 95% intervals",
        title_justify="left",
        title_style="bold",
    )
    shown.add_column("probe")
    shown.add_column("features")
    shown.add_column("accuracy", justify="right", no_wrap=True)
    shown.add_column("trained is ahead by", justify="right", no_wrap=True)
    for place, row in enumerate(comparison.rows):
        opens = place == 0 or row.protocol != comparison.rows[place - 1].protocol
        if opens and place:
            shown.add_section()
        name = row.features if row.sets == 1 else f"{row.features} ({row.sets} seeds)"
        shown.add_row(
            row.protocol if opens else "",
            name,
            _percent(row.accuracy),
            _points(row.trained_minus_this),
            style="bold" if row.trained_minus_this is None else None,
        )
    return shown


def _percent(interval: Interval) -> str:
    low, value, high = (100 * part for part in (interval.low, interval.value, interval.high))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _points(interval: Interval | None) -> str:
    if interval is None:
        return ""
    low, value, high = (100 * part for part in (interval.low, interval.value, interval.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"
