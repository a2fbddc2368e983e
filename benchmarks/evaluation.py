"""The whole evaluation of trained runs: every protocol, beside random init and raw content.

    python benchmarks/evaluation.py --name quickstart --run runs/seed0 --run runs/seed1 \\
        --run runs/seed2 --output benchmarks/results/evaluation_quickstart

Each run is scored by `jepa eval`, as a user would. For the difference to random init two intervals
stand in the table: a run's own, over test samples, and one over the runs (Student's t), which holds
what training anew changes. With --reuse, results that stand in RUN/eval are taken as they are.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import common
from cifar10 import jepa

# What is asked, and of how many training samples, since fine-tuning is dear on two cores.
PLANS: dict[str, list[str]] = {
    "knn": ["--protocol", "knn"],
    "logistic": ["--protocol", "logistic"],
    "logistic, last 4 layers": ["--protocol", "logistic", "layers=4"],
    "linear (LARS, grid)": ["--protocol", "linear"],
    "attentive": ["--protocol", "attentive", "--train-samples", "4000"],
    "low-shot, 1%": ["--protocol", "lowshot", "share=0.01"],
    "low-shot, 10%": ["--protocol", "lowshot", "share=0.1"],
    "low-shot, 10 a class, fine-tuned": [
        *("--protocol", "lowshot", "share=null", "per_class=10", "draws=2"),
        "probe={name: finetune, epochs: 30}",
    ],
    "fine-tuning, 2,000 labels": [
        *("--protocol", "finetune", "--train-samples", "2000"),
        *("epochs=25", "batch=128", "lr=4.0e-3"),  # the default's highest rate, in more steps
    ],
    "dense, 4 x 4 cells": ["--protocol", "dense", "--train-samples", "4000"],
}
HEAD = (
    "protocol", "features", "score of each run (95% over test samples)",
    "trained minus this, paired (95%)", "mean over runs (95%, t)",
)  # fmt: skip
PERCENT = 100.0
_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's 97.5% point for n runs


def evaluate(run: Path, plan: str, arguments: list[str], more: list[str], reuse: bool) -> Any:
    """One plan on one run: what `jepa eval` wrote, with its seconds."""
    kept = run / "eval" / f"benchmark-{re.sub(r'[^a-z0-9]+', '-', plan.lower())}.json"
    if reuse and kept.exists():
        return json.loads(kept.read_text())
    with tempfile.TemporaryDirectory() as temporary:
        # Features stay in the run's folder, for the next plan.
        features = run / "eval" / "features"
        features.mkdir(parents=True, exist_ok=True)
        (Path(temporary) / "features").symlink_to(features.resolve())
        seconds = jepa("eval", str(run), *arguments, "--output", temporary, *more)
        (written,) = Path(temporary).glob("*.json")
        found = {**json.loads(written.read_text()), "seconds": round(seconds, 1)}
    kept.write_text(json.dumps(found, indent=2) + "\n")
    return found


def interval(part: dict[str, float], scale: float, sign: str = "") -> str:
    low, value, high = (scale * part[key] for key in ("low", "value", "high"))
    form = f"{sign}.{1 if scale == PERCENT else 3}f"
    return f"{value:{form}} ({low:{form}} to {high:{form}})"


def rows_of(plan: str, results: list[Any]) -> list[list[str]]:
    """A row a kind of features: each run's score, and the differences over all runs."""
    rows = []
    for place, first in enumerate(results[0]["rows"]):
        members = [result["rows"][place] for result in results]
        scale = PERCENT if first["metric"] == "accuracy" else 1.0
        scores = "; ".join(interval(member["score"], scale) for member in members)
        differences = [member["trained_minus_this"] for member in members]
        if None in differences:
            rows.append([plan, first["features"], scores, "", ""])
            continue
        single = "; ".join(interval(each, scale, "+") for each in differences)
        rows.append([plan, first["features"], scores, single, over_runs(differences, scale)])
    return rows


def over_runs(differences: list[dict[str, float]], scale: float) -> str:
    values = [each["value"] for each in differences]
    mean = statistics.mean(values)
    half = 0.0
    if len(values) > 1:
        half = _T[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
    found = {"low": mean - half, "value": mean, "high": mean + half}
    return interval(found, scale, "+") if half else interval(found, scale, "+").split()[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of what was trained, for the table's head")
    parser.add_argument("--run", action="append", type=Path, required=True, metavar="DIR")
    parser.add_argument("--plan", action="append", choices=PLANS, help="a single plan, repeatable")
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("overrides", nargs="*", metavar="data.key=value")
    args = parser.parse_args()
    plans = {plan: PLANS[plan] for plan in args.plan or PLANS}
    rows: list[list[str]] = []
    told: dict[str, Any] = {}
    began = time.monotonic()
    for plan, arguments in plans.items():
        results = [evaluate(run, plan, arguments, args.overrides, args.reuse) for run in args.run]
        told[plan] = results
        rows += rows_of(plan, results)
    print(f"{time.monotonic() - began:.0f} s")
    common.report(f"evaluation of {args.name}", HEAD, rows, told, args.output)


if __name__ == "__main__":
    main()
