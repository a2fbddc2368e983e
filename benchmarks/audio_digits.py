"""Spoken digits in minutes on two cores, judged beside random init and log-mel statistics.

    python benchmarks/audio_digits.py --output benchmarks/results/audio_digits

Trains audio/quickstart as a user would (`jepa train`) on splits of the Free Spoken Digit
Dataset, and probes it (`jepa eval`). Split `recordings`: recordings 0 to 4 of each digit and
speaker are the test, as the data set has it. Split `speakers`: all recordings of theo and yweweler
are the test, so the probe is asked about voices that neither it nor the encoder has heard. Split
`untuned_speakers`: those of lucas and nicolas, whom nobody looked at while the config was settled.
The raw baseline is the mean and deviation over time of each log-mel bin.

Reads ../shared/data/audio-fsdd, which stands beside the checkout of the project's developers; with
--data it takes any folder of DIGIT_SPEAKER_INDEX.wav.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common
from cifar10 import jepa

ARCHIVES = Path(__file__).parents[2] / "shared/data/audio-fsdd"
STRANGERS = ("theo", "yweweler")
UNTUNED = ("lucas", "nicolas")
SPLITS: dict[str, Callable[[str, int], bool]] = {
    "recordings": lambda speaker, index: index < 5,
    "speakers": lambda speaker, index: speaker in STRANGERS,
    "untuned_speakers": lambda speaker, index: speaker in UNTUNED,
}
"""Whether a recording is in the test."""


def class_folders(recordings: Path, folder: Path, is_test: Callable[[str, int], bool]) -> Path:
    """folder/{train,test}/DIGIT/*.wav of a folder of recordings."""
    for path in sorted(recordings.glob("*_*_*.wav")):
        digit, speaker, index = path.stem.split("_")
        split = "test" if is_test(speaker, int(index)) else "train"
        target = folder / split / digit / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def one_run(data: Path, run: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Train and probe."""
    settings = [f"data.root={data}", f"train.seed={seed}", *overrides]
    seconds = jepa("train", "--config", "audio/quickstart", "--output", str(run), *settings)
    seconds_of_eval = jepa("eval", str(run), "--protocol", "logistic", "--protocol", "knn")
    (written,) = (run / "eval").glob("*.json")
    return {
        "seed": seed,
        "train_seconds": seconds,
        "eval_seconds": seconds_of_eval,
        "scores": json.loads(written.read_text()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of DIGIT_SPEAKER_INDEX.wav [../shared]")
    parser.add_argument("--split", choices=SPLITS, action="append", help="this alone [all]")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    archives = sorted(ARCHIVES.glob("*.tar.xz"))
    if args.data is None and not archives:
        parser.error(f"{ARCHIVES} holds no archive; give --data")
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        recordings = args.data or place / "fsdd" / "recordings"
        if args.data is None:
            with tarfile.open(archives[0]) as archive:
                archive.extractall(place / "fsdd", filter="data")
        for split in args.split or SPLITS:
            data = class_folders(recordings, place / split, SPLITS[split])
            for seed in range(args.seeds):
                found = one_run(data, place / f"run_{split}{seed}", seed, args.overrides)
                results.append({"split": split, **found})
    rows = [
        [found["split"], str(found["seed"]), f"{found['train_seconds']:.0f} s", *row]
        for found in results
        for row in scores(found["scores"])
    ]
    head = ["split", "seed", "training", "features", "probe", "accuracy", "95% interval"]
    common.report("audio_digits", head, rows, results, args.output)


def scores(told: dict[str, Any]) -> list[list[str]]:
    """Rows of (features, probe, accuracy, interval)."""
    return [
        [
            row["features"],
            row["protocol"],
            f"{row['score']['value']:.3f}",
            f"{row['score']['low']:.3f} to {row['score']['high']:.3f}",
        ]
        for row in told["rows"]
    ]


if __name__ == "__main__":
    main()
