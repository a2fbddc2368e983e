"""How a camera moves, learned in minutes on two cores and judged beside random init and pixels.

    python benchmarks/video_motion.py --output benchmarks/results/video_motion

Trains video/quickstart as a user would (`jepa train`): clips of a camera that pans, zooms and turns
over the training photographs of CIFAR-10. Probes it (`jepa eval`) on clips over the test
photographs, which nothing was trained on: which of the eight moves, and how fast (`dense`, mean
absolute error in shares of a frame's side; a guess of the middle speed is off by a quarter of the
range). The raw baseline is the pixels, averaged to 8 x 8 a frame.

Task `arrow` takes the same encoder to real clips, forwards and backwards: the probes are fitted on
the fixed and moving cameras of ../shared/data/video-clips and asked about its signers.

Settings were chosen on a tenth of the training photographs, held out for that; nobody looked at the
test photographs meanwhile. Reads ../shared/data, which stands beside the checkout of the project's
developers; with --data it takes any folder with train/ and test/ photographs.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import common
from cifar10 import ARCHIVE, jepa

CLIPS = Path(__file__).parents[2] / "shared/data/video-clips"
PARTS = 4
"""Pieces of each real clip: a clip of the model is far shorter than most of them."""


def train(data: Path, run: Path, seed: int, overrides: list[str]) -> float:
    """Seconds of `jepa train`."""
    settings = [f"data.root={data}", f"train.seed={seed}", *overrides]
    return jepa("train", "--config", "video/quickstart", "--output", str(run), *settings)


def evaluate(run: Path, name: str, *arguments: str) -> dict[str, Any]:
    """What `jepa eval` wrote, and its seconds."""
    output = run / f"eval_{name.replace(' ', '_')}"
    seconds = jepa("eval", str(run), "--output", str(output), *arguments)
    (written,) = output.glob("*.json")
    return {"name": name, "seconds": seconds, "scores": json.loads(written.read_text())}


def motion(run: Path) -> list[dict[str, Any]]:
    """Direction by three probes, and speed.

    The attentive probe gets few labels: with thousands it finds the move in any tokens.
    """
    few = ["--train-samples=1000", "--test-samples=2000"]
    return [
        evaluate(run, "direction", "--protocol=logistic", "--protocol=knn"),
        evaluate(run, "direction, 1,000 labels", "--protocol=attentive", *few),
        evaluate(run, "speed", "--protocol=dense", "predict=speed", "cells=1"),
    ]


def arrow(run: Path, folder: Path) -> list[dict[str, Any]]:
    """Forwards or backwards: fitted on cameras, asked about signers."""
    for path in sorted(CLIPS.glob("*.mp4")):
        target = folder / ("test" if path.name.startswith("asl_") else "train") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    pieces = f"{{name: stretches, count: {PARTS}, source: {{name: folder}}}}"

    def source(split: str) -> str:
        return f"{{name: arrow_of_time, source: {pieces}, root: {folder}, split: {split}}}"

    probes = ["--protocol=logistic", "--protocol=attentive"]
    return [
        evaluate(run, "arrow", *probes, "--train", source("train"), "--test", source("test")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with train/ and test/ [../shared]")
    parser.add_argument("--task", choices=("motion", "arrow"), action="append", help="[both]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    tasks = args.task or ["motion", *(["arrow"] if CLIPS.exists() else [])]
    if args.data is None and not ARCHIVE.exists():
        parser.error(f"{ARCHIVE} is not there; give --data")
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        data = args.data or place / "data"
        if args.data is None:
            with tarfile.open(ARCHIVE) as archive:
                archive.extractall(data, filter="data")
        for seed in range(args.seeds):
            run = place / f"seed{seed}"
            seconds = train(data, run, seed, args.overrides)
            found = motion(run) if "motion" in tasks else []
            found += arrow(run, place / "clips") if "arrow" in tasks else []
            results.append({"seed": seed, "train_seconds": seconds, "evaluations": found})
    rows = [
        [str(found["seed"]), f"{found['train_seconds']:.0f} s", evaluation["name"], *row]
        for found in results
        for evaluation in found["evaluations"]
        for row in scores(evaluation["scores"])
    ]
    head = ["seed", "training", "asked", "features", "probe", "score", "95% interval", "samples"]
    common.report("video_motion", head, rows, results, args.output)


def scores(told: dict[str, Any]) -> list[list[str]]:
    """Rows of (features, probe, score, interval, test samples)."""
    return [
        [
            row["features"],
            row["protocol"],
            number(row["score"]["value"]),
            f"{number(row['score']['low'])} to {number(row['score']['high'])}",
            str(told["test_samples"]),
        ]
        for row in told["rows"]
    ]


def number(value: float) -> str:
    """Three digits, of errors of speed more."""
    return f"{value:.3f}" if value >= 0.1 else f"{value:.4f}"


if __name__ == "__main__":
    main()
