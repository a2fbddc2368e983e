"""Every record as a line of `metrics.jsonl`, for scripts."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from typing import TextIO, final

import attrs

from jepa.core.files import cut_jsonl
from jepa.core.health.trace import METRICS_FILE
from jepa.core.training.observer import Observer, Outcome, Record, Remark, RunView


@final
class Jsonl(Observer):
    """Writes one JSON object a record: `step`, `epoch`, `time` (Unix, seconds) and the metrics.

    Lines are strict JSON: what is not finite is null. How the run stands is `status`, and notes
    stand under `notes`, if there are any.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """There is nothing to set."""

    def __init__(self, config: Config) -> None:
        self._out: TextIO | None = None

    def start(self, run: RunView) -> None:
        """Open the file, cut back to the step that the run goes on from."""
        path = run.output / METRICS_FILE
        cut_jsonl(path, run.start_step)
        self._out = path.open("a", encoding="utf-8")

    def measure(self, step: int) -> Mapping[str, float]:
        """Nothing: this observer only writes."""
        return {}

    def remark(self, step: int) -> Remark | None:
        """Nothing of its own."""
        return None

    def record(self, record: Record) -> None:
        """Append a line and hand it to the system, so that readers see it at once."""
        out = self._opened()
        out.write(to_line(record, time.time()))
        out.flush()

    def saved(self, step: int) -> None:
        """Put all lines on the disk."""
        os.fsync(self._opened().fileno())

    def finish(self, outcome: Outcome) -> None:
        """Close the file, if the run came so far as to open it."""
        if self._out is not None:
            with self._out as out:
                os.fsync(out.fileno())
            self._out = None

    def _opened(self) -> TextIO:
        if self._out is None:
            raise RuntimeError("jsonl: start() comes before everything else")
        return self._out


def to_line(record: Record, now: float) -> str:
    """One line of strict JSON, ended by a newline."""
    fields: dict[str, object] = {
        "step": record.step,
        "epoch": round(record.epoch, 6),
        "time": round(now, 3),
    }
    for name, value in record.metrics.items():
        fields[name] = value if math.isfinite(value) else None
    if record.status:
        fields["status"] = record.status
    if record.notes:
        fields["notes"] = list(record.notes)
    return json.dumps(fields, allow_nan=False) + "\n"
