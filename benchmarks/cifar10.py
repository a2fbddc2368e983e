"""I-JEPA on CIFAR-10 (JPEG) in minutes on two cores, judged beside random init and pixels.

    python benchmarks/cifar10.py --output benchmarks/results/cifar10

Trains configs/image/cifar10.yaml as a user would (`jepa train`), then probes it (`jepa report`).
Reads ../shared/data/image-cifar10, which stands beside the checkout of the project's developers;
with --data it takes any folder with train/CLASS/*.jpg and test/CLASS/*.jpg.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

import common

ARCHIVE = Path(__file__).parents[2] / "shared/data/image-cifar10/cifar10-jpeg.tar.xz"


def jepa(*arguments: str) -> float:
    """Run one command and return its seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "jepa", *arguments], check=True)
    return time.monotonic() - began


def one_seed(data: Path, folder: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    run = folder / f"seed{seed}"
    settings = [f"data.root={data}", f"train.seed={seed}", *overrides]
    seconds = jepa("train", "--config", "image/cifar10", "--output", str(run), *settings)
    jepa("report", str(run))
    report = json.loads((run / "report" / "report.json").read_text())
    return {"seed": seed, "train_seconds": seconds, "report": report}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with train/ and test/ [../shared]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    if args.data is None and not ARCHIVE.exists():
        parser.error(f"{ARCHIVE} is not there; give --data")
    with tempfile.TemporaryDirectory() as temporary:
        data = args.data or Path(temporary) / "data"
        if args.data is None:
            with tarfile.open(ARCHIVE) as archive:
                archive.extractall(data, filter="data")
        results = [
            one_seed(data, Path(temporary), seed, args.overrides) for seed in range(args.seeds)
        ]
    rows = [
        [str(found["seed"]), f"{found['train_seconds']:.0f} s", *row]
        for found in results
        for row in scores(found["report"])
    ]
    head = ["seed", "training", "features", "probe", "accuracy", "95% interval"]
    common.report("cifar10", head, rows, results, args.output)


def scores(report: dict[str, Any]) -> list[list[str]]:
    """Rows of (features, probe, accuracy, interval) of a report."""
    return [
        [
            row["features"],
            row["protocol"],
            f"{row['score']['value']:.3f}",
            f"{row['score']['low']:.3f} to {row['score']['high']:.3f}",
        ]
        for row in report["probes"]["rows"]
    ]


if __name__ == "__main__":
    main()
