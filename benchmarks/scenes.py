"""Counting and distance after minutes of training on scenes, beside random init and pixels.

    python benchmarks/scenes.py --output benchmarks/results/scenes

Trains configs/image/scenes.yaml as a user would, then asks by `jepa eval` how many objects a scene
shows and how far the nearest is: as classes (VTAB's Clevr/Count and Clevr/Distance, which the paper
reports), and as numbers. With --run DIR it evaluates runs that are trained already.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import common
from cifar10 import jepa
from evaluation import HEAD, evaluate, rows_of

_COUNT = ["--train", "scenes", "--test", "scenes", "--train-samples", "8000"]
_FAR = "{name: scenes, label: nearest}"
_NEAREST = ["--train", _FAR, "--test", _FAR, "--train-samples", "8000"]
PLANS = {
    "count, k-NN": ["--protocol", "knn", *_COUNT],
    "count, logistic": ["--protocol", "logistic", "layers=4", *_COUNT],
    "count, linear (LARS, grid)": ["--protocol", "linear", *_COUNT],
    "count, dense": ["--protocol", "dense", *_COUNT],
    "count as a number, dense (error)": ["--protocol", "dense", "predict=count", *_COUNT],
    "distance, k-NN": ["--protocol", "knn", *_NEAREST],
    "distance, logistic": ["--protocol", "logistic", "layers=4", *_NEAREST],
    "distance, linear (LARS, grid)": ["--protocol", "linear", *_NEAREST],
    "distance, dense": ["--protocol", "dense", *_NEAREST],
    "distance as a number, dense (error)": ["--protocol", "dense", "predict=nearest", *_NEAREST],
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--run", action="append", type=Path, default=[], metavar="DIR")
    parser.add_argument("--reuse", action="store_true", help="take results that stand in RUN/eval")
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    args = parser.parse_args()
    rows: list[list[str]] = []
    told: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        runs = list(args.run)
        for seed in range(0 if runs else args.seeds):
            runs.append(Path(temporary) / f"seed{seed}")
            settings = ["--output", str(runs[-1]), f"train.seed={seed}"]
            told[f"seconds of training, seed {seed}"] = jepa(
                "train", "--config", "image/scenes", *settings
            )
        for plan, arguments in PLANS.items():
            results = [evaluate(run, plan, arguments, [], args.reuse) for run in runs]
            told[plan] = results
            rows += rows_of(plan, results)
    common.report("scenes: counting and distance", HEAD, rows, told, args.output)


if __name__ == "__main__":
    main()
