"""What a sweep was trained on and measured by, for the head of its table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep
from jepa.core.config import DataConfig
from jepa.core.parts import Part
from jepa.core.settings import unstructure

_SPLITS = ("train", "test")


def trained_on(sweep: Sweep) -> str:
    """The samples of the runs: `folder, /data, split train`; of each variant where they differ."""
    told = {run.variant.label: _data(run.config.data) for run in sweep.runs}
    if len(set(told.values())) == 1:
        return told[sweep.reference.label]
    return "; ".join(f"{label}: {text}" for label, text in told.items())


def measured_by(sweep: Sweep) -> str:
    """The protocols with all their settings: `knn (k=20, temperature=0.07)`."""
    return "; ".join(map(_protocol, sweep.config.measure))


def measured_on(sweep: Sweep, outcomes: Sequence[Outcome]) -> dict[str, str]:
    """`fit on` and `scored on`: how many samples of which source, as `jepa eval` counted them."""
    asked = sweep.config.evaluate
    found = next(filter(None, map(_counts, outcomes)), None)
    told = {}
    for split, name, source, limit in (
        ("train", "fit on", asked.train, asked.train_samples),
        ("test", "scored on", asked.test, asked.test_samples),
    ):
        of = source if source is not None else f"the run's own data, split {split}"
        count = f"at most {limit:,}" if found is None else found[split]
        told[name] = f"{count} samples of {of}"
    return told


def _data(data: DataConfig) -> str:
    words = [data.source.name, str(data.root or ""), f"split {data.split}" if data.split else ""]
    return ", ".join(filter(None, words))


def _protocol(part: Part) -> str:
    settings = unstructure(part.config).items()
    told = ", ".join(f"{name}={json.dumps(value, default=str)}" for name, value in settings)
    return f"{part.name} ({told})" if told else part.name


def _counts(outcome: Outcome) -> dict[str, str] | None:
    """By split, `2,000 of 10,000`, from a result of this run; None before there is one."""
    files = sorted((outcome.run.folder / "eval").glob("*.json"))
    return next((told for path in files if (told := _read(path, outcome))), None)


def _read(path: Path, outcome: Outcome) -> dict[str, str] | None:
    """What a file tells; None where it is of another question, or no result."""
    asked, seen = unstructure(outcome.run.evaluate), outcome.run.samples
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        if told["step"] != outcome.run.steps or not asked.items() <= told["asked"].items():
            return None
        if seen is not None and told["test"]["fingerprint"] != seen.test:
            return None
        # A source counts parts, as those of `stretches` are.
        pairs = {split: (told[f"{split}_parts"], told[split]["samples"]) for split in _SPLITS}
        return {split: f"{used:,} of {there:,}" for split, (used, there) in pairs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
