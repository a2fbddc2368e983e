"""Sweeps whose runs nobody trained, and outcomes that nobody measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from jepa.ablation.outcome import Outcome, Score
from jepa.ablation.plan import Run, Sweep, plan
from jepa.ablation.settings import AblationConfig
from jepa.core.settings import structure

RATES = [0.1, 0.2, 0.4, 0.3, 0.5]
TINY = ["model.encoder.depth=1", "model.predictor.depth=1", "train.global_batch=8"]


def sweep(
    folder: Path, labels: Sequence[str], seeds: Sequence[int] = (0, 1, 2), **more: Any
) -> Sweep:
    """A sweep over the learning rate, a variant a label; the first is the reference."""
    raw = {
        "base": "image/quickstart",
        "overrides": [*TINY, "optim.warmup_epochs=0"],
        "vary": {"optim.lr": RATES[: len(labels)]},
        "labels": list(labels),
        "seeds": list(seeds),
        "budget": {"steps": 50},
        "measure": ["knn"],
        **more,
    }
    made = plan(structure(raw, AblationConfig, "the sweep"), folder)
    command = ("ablate", "--config", "sweep.yaml", "--output", str(folder))
    return attrs.evolve(made, command=command)


def done(run: Run, metric: str = "accuracy", **features: float) -> Outcome:
    """A run that was scored by k-NN; `random_init=0.5` is a baseline's score."""
    scores = {
        name.replace("_", " "): Score(value, value - 0.02, value + 0.02, metric)
        for name, value in features.items()
    }
    return Outcome(run=run, status="done", step=run.steps, scores={"knn": scores})


def outcomes(
    made: Sweep, scores: Mapping[str, Sequence[float]], metric: str = "accuracy"
) -> list[Outcome]:
    """All runs done: the scores of each label, a seed each; baselines where the run has them."""
    seeds = made.config.seeds
    found = []
    for run in made.runs:
        place = seeds.index(run.seed)
        more = {"random_init": 0.3 + 0.01 * place, "raw_baseline": 0.35} if run.baselines else {}
        found.append(done(run, metric, trained=scores[run.variant.label][place], **more))
    return found


def write_metrics(run: Run, rates: Sequence[float], torn: str = "") -> None:
    """A `metrics.jsonl` with a rate a record, losses and the online k-NN."""
    run.folder.mkdir(parents=True, exist_ok=True)
    records: list[dict[str, float]] = [{"step": 1, "health/knn_init": 0.4}]
    for place, rate in enumerate(rates, 1):
        records.append(
            {
                "step": 10 * place,
                "train/loss": 1.0 / place + 0.01 * run.seed,
                "perf/samples_per_s": rate,
                "health/knn": 0.4 + 0.05 * place,
            }
        )
    text = "".join(json.dumps(record) + "\n" for record in records)
    (run.folder / "metrics.jsonl").write_text(text + torn)
