"""What became of a run, read from the disk alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from jepa.ablation.plan import Run
from jepa.core.settings import unstructure
from jepa.core.training.checkpoint import checkpoints
from jepa.core.training.runfolder import MARKERS
from jepa.evaluation.candidates import RANDOM, RAW, TRAINED

Status = Literal["done", "failed", "stopped", "waiting"]


@attrs.frozen
class Score:
    """A score with its 95% interval over test samples.

    `metric` is `accuracy`, or `mean absolute error of QUANTITY`, of which less is better.
    """

    value: float
    low: float
    high: float
    metric: str


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a run.

    Args:
        run: that it is of.
        status: `done` trained and measured; `failed`; `stopped` on its way; `waiting` unbegun.
        reason: why it failed, or how far it is; empty where there is nothing to say.
        step: of its newest checkpoint; 0 before the first.
        scores: protocol -> features (`trained`, `random init`, `raw baseline`) -> score. Runs
            that share their baselines with an earlier one have the trained row alone.
    """

    run: Run
    status: Status
    reason: str = ""
    step: int = 0
    scores: Mapping[str, Mapping[str, Score]] = attrs.field(factory=dict)


def read_outcome(run: Run) -> Outcome:
    """What the run's folder and the files beside it tell."""
    step = max((found.step for found in checkpoints(run.folder / "checkpoints")), default=0)
    scores = read_scores(run) if is_trained(run) else None
    if scores is not None:
        return Outcome(run=run, status="done", step=step, scores=scores)
    if run.failure.exists():
        return Outcome(run=run, status="failed", reason=run.failure.read_text().strip(), step=step)
    if is_trained(run):
        return Outcome(run=run, status="stopped", reason="trained, not measured yet", step=step)
    if step:
        return Outcome(run=run, status="stopped", reason=f"step {step} of {run.steps}", step=step)
    return Outcome(run=run, status="waiting")


def is_trained(run: Run) -> bool:
    """Whether the run has reached its last step."""
    return (run.folder / MARKERS["completed"]).exists()


def read_scores(run: Run) -> dict[str, dict[str, Score]] | None:
    """What `jepa eval` wrote for these protocols and samples; None where it has not.

    A result with the baselines serves a run that needs none.
    """
    for path in sorted((run.folder / "eval").glob("*.json")):
        told = _read(path)
        if told is not None and _answers(told, run):
            scores: dict[str, dict[str, Score]] = {}
            for row in told["rows"]:
                found = row["score"]
                of_protocol = scores.setdefault(row["protocol"], {})
                of_protocol[row["features"]] = Score(
                    found["value"], found["low"], found["high"], row["metric"]
                )
            return scores
    return None


def _read(path: Path) -> Any:
    """What a file says; None where it is no whole JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _answers(told: Any, run: Run) -> bool:
    """Whether a result of `jepa eval` is what this run is to be measured by."""
    asked = run.evaluate
    wanted = {
        "step": run.steps,
        "protocols": {part.name: unstructure(part.config) for part in run.measure},
        "asked": {
            "train": asked.train,
            "test": asked.test,
            "train_samples": asked.train_samples,
            "test_samples": asked.test_samples,
            "random_inits": 1,
        },
        "seed": 0,
    }
    if not isinstance(told, Mapping) or any(told.get(k, ...) != v for k, v in wanted.items()):
        return False
    needed = {TRAINED, RANDOM, RAW} if run.baselines else {TRAINED}
    return needed <= {row["features"] for row in told["rows"]}
