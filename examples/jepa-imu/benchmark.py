"""Exercises of people that nothing was trained on: train, probe, and write results.md.

    python benchmark.py watch_imu.npz

Trains watch.yaml as a user would (`jepa train`) with some people held out, and probes it (`jepa
eval`). Probes choose their penalty on people of the training set that are held out. Settings were
chosen on people 1 to 7 alone, each held out in turn from the probe, as if 8 to 10 had not been
recorded. So the first fold is the strictest, and what the others say is too good by what was
chosen. Beside it stand the same network untrained, and features by hand: mean, deviation and
spectrum of each channel.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).parent
FOLDS = ((8, 9, 10), (1, 2, 3), (4, 5, 6, 7))
PROBES = (("logistic", "layers=4"), ("knn", "k=20"))


FEATURES = ("trained", "random init", "raw baseline")


class Score(NamedTuple):
    """An accuracy with its 95% interval over windows."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Row(NamedTuple):
    """One probe on one run; scores in the order of FEATURES."""

    people: tuple[int, ...]
    seed: int
    seconds: float
    probe: str
    scores: tuple[Score, ...]


def jepa(*arguments: str) -> float:
    """Run one command; its seconds."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "jepa", *arguments], check=True)
    return time.monotonic() - began


def one_run(
    data: Path, people: tuple[int, ...], seed: int, run: Path, more: list[str]
) -> list[Row]:
    """Train with these people held out, and probe."""
    settings = [f"data.root={data}", f"data.source.held_out={list(people)}", f"train.seed={seed}"]
    config = str(HERE / "watch.yaml")
    seconds = jepa("train", "--config", config, "--output", str(run), *settings, *more)
    rows = []
    for probe, setting in PROBES:
        output = run / f"eval_{probe}"
        jepa("eval", str(run), "--protocol", probe, setting, "--output", str(output))
        (written,) = output.glob("*.json")
        found = {row["features"]: row["score"] for row in json.loads(written.read_text())["rows"]}
        scores = tuple(Score(**found[name]) for name in FEATURES)
        rows.append(Row(people, seed, seconds, f"{probe} {setting}", scores))
    return rows


def means(rows: list[Row]) -> list[list[str]]:
    """A line for each probe: the mean over all people, each held out once, with seed 0."""
    lines = []
    for probe in dict.fromkeys(row.probe for row in rows):
        found = [row for row in rows if row.probe == probe and row.seed == 0]
        if sorted(person for row in found for person in row.people) != list(range(1, 11)):
            continue
        of_all = [
            sum(len(row.people) * row.scores[place].value for row in found) / 10
            for place in range(len(FEATURES))
        ]
        lines.append(["mean over ten", "0", "", probe, *(f"{value:.3f}" for value in of_all)])
    return lines


def commit() -> str:
    """Of the checkout that this file lies in."""
    git = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """What the figures were taken on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else 'unknown'}, {os.cpu_count()} cores, torch {torch.__version__}"


def write(rows: list[Row], path: Path) -> None:
    """The table as Markdown."""
    head = ("held out", "seed", "training", "probe", "trained", "untrained", "by hand")
    cells = [head, ("---",) * len(head)]
    for row in rows:
        people = ", ".join(map(str, row.people))
        told = (people, str(row.seed), f"{row.seconds:.0f} s", row.probe, *map(str, row.scores))
        cells.append(told)
    cells += map(tuple, means(rows))
    table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    command = shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]])
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    text = f"# Exercises of people that nothing was trained on\n\n`{command}`  \n"
    text += f"{today}, commit {commit()}, {machine()}\n\n{table}\n\n"
    text += "Accuracy of seven exercises over windows of the people held out; in brackets, 95%\n"
    text += "intervals over windows, which are narrower than the spread between people. Settings\n"
    text += "were chosen on people 1 to 7 alone, so the strictest figure is that of the others.\n"
    path.write_text(text)


def main() -> None:
    """Read the arguments, run all, and write after each run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="watch_imu.npz")
    parser.add_argument("--seeds", type=int, default=2, help="of the first fold; others have one")
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", type=Path, default=HERE / "results.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_intermixed_args()
    jobs = [(FOLDS[0], seed) for seed in range(args.seeds)] + [(fold, 0) for fold in FOLDS[1:]]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.parallel) as pool:

        def go(place: int) -> list[Row]:
            people, seed = jobs[place]
            run = Path(folder) / str(place)
            return one_run(args.data.absolute(), people, seed, run, args.overrides)

        for found in pool.map(go, range(len(jobs))):
            rows += found
            write(rows, args.output)


if __name__ == "__main__":
    main()
