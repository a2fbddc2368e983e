"""The quickstart on several seeds: trained against random init and pixels.

    python benchmarks/quickstart.py --seeds 3 --output benchmarks/results/quickstart

With --run DIR (repeatable) it reports on runs that are trained already; a report that stands is
taken as it is.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import common
from cifar10 import jepa, scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run", action="append", type=Path, default=[], metavar="DIR")
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        runs = list(args.run)
        for seed in range(0 if runs else args.seeds):
            runs.append(Path(temporary) / f"seed{seed}")
            settings = ["--output", str(runs[-1]), f"train.seed={seed}"]
            jepa("train", "--config", "image/quickstart", *settings)
        results = []
        for run in runs:
            written = run / "report" / "report.json"
            if not written.exists():
                jepa("report", str(run))
            report = json.loads(written.read_text())
            results.append({"run": run.name, "report": report})
    rows = [[found["run"], *row] for found in results for row in scores(found["report"])]
    head = ["run", "features", "probe", "accuracy", "95% interval"]
    common.report("quickstart", head, rows, results, args.output)


if __name__ == "__main__":
    main()
