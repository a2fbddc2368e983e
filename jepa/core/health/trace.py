"""The course of a run's scalars: what a verdict is made from."""

from __future__ import annotations

import bisect
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jepa.core.errors import DataError

METRICS_FILE = "metrics.jsonl"
HEALTH = "health/"
LOSS = "train/loss"
LR = "schedule/lr"
BAD_STEPS = "train/bad_steps_in_a_row"
GRAD_NORM = "train/grad_norm"
_KEPT = (LOSS, LR, BAD_STEPS, GRAD_NORM)


class Series(NamedTuple):
    """One scalar: `steps` [n] int64 ascending, `values` [n] float64, nan where not finite."""

    steps: np.ndarray
    values: np.ndarray


class Trace:
    """The scalars of a run that its health is judged by, step by step."""

    def __init__(self) -> None:
        self._columns: dict[str, tuple[list[int], list[float]]] = {}

    def add(self, step: int, metrics: Mapping[str, float | None]) -> None:
        """Take what counts of a step's scalars; steps come in their order.

        A step that comes again (of a run that went back) drops what stood there and after it.
        """
        for name, value in metrics.items():
            if not (name.startswith(HEALTH) or name in _KEPT):
                continue
            steps, values = self._columns.setdefault(name, ([], []))
            if steps and steps[-1] >= step:
                kept = bisect.bisect_left(steps, step)
                del steps[kept:], values[kept:]
            steps.append(step)
            values.append(math.nan if value is None or not math.isfinite(value) else value)

    def series(self, name: str) -> Series:
        """All values of a scalar; empty where it was never measured."""
        steps, values = self._columns.get(name, ([], []))
        return Series(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))

    def until(self, step: int) -> Trace:
        """The trace as it stood after a step."""
        cut = Trace()
        for name, (steps, values) in self._columns.items():
            kept = bisect.bisect_right(steps, step)
            if kept:
                cut._columns[name] = (steps[:kept], values[:kept])
        return cut

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scalars, sorted."""
        return tuple(sorted(self._columns))


def read_trace(path: Path) -> Trace:
    """The trace of a run from its `metrics.jsonl`, also while the run writes it.

    A torn last line, which a killed or a writing process leaves, is passed over.

    Raises:
        DataError: the file cannot be read, or a line within it is no record.
    """
    trace = Trace()
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    *lines, torn = text.split("\n")
    for number, line in enumerate([*lines, torn], 1):
        try:
            record = json.loads(line)
            trace.add(record["step"], _scalars(record))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if number > len(lines):
                continue
            raise DataError(f"{path}, line {number}: no record of a run: {error}") from error
    return trace


def _scalars(record: Mapping[str, object]) -> dict[str, float | None]:
    return {
        name: None if value is None else float(value)
        for name, value in record.items()
        if value is None or isinstance(value, int | float)
    }
