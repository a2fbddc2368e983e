"""What became of a run, read from the disk alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from jepa.ablation.plan import Run
from jepa.core.parts import Part
from jepa.core.settings import unstructure
from jepa.core.training.checkpoint import checkpoints
from jepa.core.training.runfolder import MARKERS
from jepa.evaluation.candidates import RANDOM, RAW, TRAINED

Scores = Mapping[str, Mapping[str, "Score"]]
"""Protocol -> features -> score."""

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
        scores: protocol -> features (`trained`, `random init`, `raw baseline`) -> score, of the
            protocols that are measured. Of runs that share their baselines one has them all,
            and the others may have the trained row alone.
    """

    run: Run
    status: Status
    reason: str = ""
    step: int = 0
    scores: Scores = attrs.field(factory=dict)


def read_outcome(run: Run) -> Outcome:
    """What the run's folder and the files beside it tell."""
    step = max((found.step for found in checkpoints(run.folder / "checkpoints")), default=0)
    trained = is_trained(run)
    scores = read_scores(run) if trained else {}
    missing = unscored(run, scores)
    status: Status
    if trained and not missing:
        status, reason = "done", ""
    elif run.failure.exists():
        status, reason = "failed", run.failure.read_text("utf-8", "replace").strip()
    elif trained:
        by = ", ".join(part.name for part in missing)
        status, reason = "stopped", f"trained, not measured yet by {by}"
    elif step:
        status, reason = "stopped", f"step {step} of {run.steps}"
    else:
        status, reason = "waiting", ""
    return Outcome(run=run, status=status, reason=reason, step=step, scores=scores)


def is_trained(run: Run) -> bool:
    """Whether the run has reached its last step."""
    return (run.folder / MARKERS["completed"]).exists()


def unscored(run: Run, scores: Scores) -> tuple[Part, ...]:
    """The protocols by which the trained network has no score."""
    return tuple(part for part in run.measure if TRAINED not in scores.get(part.name, {}))


def without_baselines(run: Run, scores: Scores) -> tuple[Part, ...]:
    """The protocols by which the untrained network or the raw content has no score."""
    both = {RANDOM, RAW}
    return tuple(part for part in run.measure if not both <= scores.get(part.name, {}).keys())


def read_scores(run: Run) -> dict[str, dict[str, Score]]:
    """What `jepa eval` wrote for these protocols, settings and samples.

    Each file counts for the protocols that it answers; where several answer one, they agree.
    """
    scores: dict[str, dict[str, Score]] = {}
    for path in sorted((run.folder / "eval").glob("*.json")):
        try:
            found = list(_answers(json.loads(path.read_text("utf-8")), run))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # not whole, or nothing that `jepa eval` wrote
        for protocol, features, score in found:
            scores.setdefault(protocol, {})[features] = score
    return scores


def _answers(told: Any, run: Run) -> Iterator[tuple[str, str, Score]]:
    """Protocol, features and score of each row that this run is to be measured by."""
    asked, seen = run.evaluate, run.samples
    wanted = {
        "step": run.steps,
        "asked": {
            "train": asked.train,
            "test": asked.test,
            "train_samples": asked.train_samples,
            "test_samples": asked.test_samples,
            "random_inits": 1,
        },
        "seed": 0,
    }
    if any(told.get(key, ...) != value for key, value in wanted.items()):
        return
    found = told["train"]["fingerprint"], told["test"]["fingerprint"]
    if seen is not None and found != (seen.train, seen.test):
        return
    settings = {part.name: unstructure(part.config) for part in run.measure}
    answered = {name for name, own in settings.items() if told["protocols"].get(name) == own}
    for row in told["rows"]:
        if row["protocol"] in answered:
            score = row["score"]
            values = score["value"], score["low"], score["high"], row["metric"]
            yield row["protocol"], row["features"], Score(*values)
