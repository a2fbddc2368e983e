"""Traces as `benchmarks/health.py` writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from jepa.core.health.trace import Trace

FOLDER = Path(__file__).with_name("traces")


class Recorded(NamedTuple):
    """One run: its recipe, what it was labelled by measuring it, and what its observers saw."""

    recipe: str
    seed: int
    label: str
    first: dict[str, float]
    last: dict[str, float]
    trace: Trace

    def __str__(self) -> str:
        return f"{self.recipe}-{self.seed}"


def trace_of(columns: dict[str, tuple[list[int], list[float | None]]]) -> Trace:
    """Scalars by name, each with its steps, as they came in."""
    rows: dict[int, dict[str, float | None]] = {}
    for name, (steps, values) in columns.items():
        for step, value in zip(steps, values, strict=True):
            rows.setdefault(step, {})[name] = value
    trace = Trace()
    for step in sorted(rows):
        trace.add(step, rows[step])
    return trace


def recorded(told: dict[str, Any]) -> Recorded:
    """A run from its file's content."""
    plain = (told[name] for name in ("recipe", "seed", "label", "first", "last"))
    return Recorded(*plain, trace_of(told["columns"]))


def all_recorded() -> list[Recorded]:
    """Every run of the folder `traces`."""
    return [recorded(json.loads(path.read_text())) for path in sorted(FOLDER.glob("*.json"))]
