"""Spoken digits in minutes on two cores, judged beside random init and log-mel statistics.

    python benchmarks/audio_digits.py --output benchmarks/results/audio_digits

Trains audio/quickstart as a user would (`jepa train`) on splits of the Free Spoken Digit
Dataset, and probes it (`jepa eval`). Split `recordings`: recordings 0 to 4 of each digit and
speaker are the test, as the data set has it. Each split that bears a speaker's name: all recordings
of that speaker are the test, so the probe is asked about a voice that neither it nor the encoder
has heard; its penalty is chosen on another voice that is held out from the fit. The settings were
chosen on theo and yweweler together; nobody looked at the other four meanwhile. The raw baseline is
the mean and deviation over time of each log-mel bin.

Reads ../shared/data/audio-fsdd, which stands beside the checkout of the project's developers; with
--data it takes any folder of DIGIT_SPEAKER_INDEX.wav.
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
from cifar10 import jepa

ARCHIVES = Path(__file__).parents[2] / "shared/data/audio-fsdd"
UNTUNED = ("george", "jackson", "lucas", "nicolas")
TUNED = ("theo", "yweweler")
SPLITS = ("recordings", *UNTUNED, *TUNED)
BY_SPEAKER = ("--train", "{groups: '/[0-9]+_([a-z]+)_', split: train}")
"""The penalty is chosen on a voice that the fit has not heard."""


def in_test(split: str, speaker: str, index: int) -> bool:
    """Whether a recording is in the test of a split."""
    return index < 5 if split == "recordings" else speaker == split


def class_folders(recordings: Path, folder: Path, chosen: str) -> Path:
    """folder/{train,test}/DIGIT/*.wav of a folder of recordings."""
    for path in sorted(recordings.glob("*_*_*.wav")):
        digit, speaker, index = path.stem.split("_")
        split = "test" if in_test(chosen, speaker, int(index)) else "train"
        target = folder / split / digit / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def one_run(
    data: Path, run: Path, seed: int, chosen: tuple[str, ...], overrides: list[str]
) -> dict[str, Any]:
    """Train, if that is not done, and probe."""
    clock = run / "train_seconds.json"
    if not clock.exists():
        settings = [f"data.root={data}", f"train.seed={seed}", *overrides]
        seconds = jepa("train", "--config", "audio/quickstart", "--output", str(run), *settings)
        clock.write_text(json.dumps(seconds))
    asked = ["--protocol", "logistic", "--protocol", "knn", f"data.root={data}"]
    output = run / "probes"
    seconds_of_eval = jepa("eval", str(run), *asked, *chosen, "--output", str(output))
    (written,) = output.glob("*.json")
    return {
        "seed": seed,
        "train_seconds": json.loads(clock.read_text()),
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
    parser.add_argument("--keep", type=Path, help="folder for runs; those in it are not made anew")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    archives = sorted(ARCHIVES.glob("*.tar.xz"))
    if args.data is None and not archives:
        parser.error(f"{ARCHIVES} holds no archive; give --data")
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        place = args.keep or Path(temporary)
        recordings = args.data or place / "fsdd" / "recordings"
        if args.data is None:
            with tarfile.open(archives[0]) as archive:
                archive.extractall(place / "fsdd", filter="data")
        for split in args.split or SPLITS:
            data = class_folders(recordings, place / split, split)
            for seed in range(args.seeds):
                run = place / f"run_{split}{seed}"
                chosen = () if split == "recordings" else BY_SPEAKER
                found = one_run(data, run, seed, chosen, args.overrides)
                results.append({"split": split, **found})
    rows = [
        [found["split"], str(found["seed"]), f"{found['train_seconds']:.0f} s", *row]
        for found in results
        for row in scores(found["scores"])
    ]
    rows += means(results, "untuned four", UNTUNED) + means(results, "all six", UNTUNED + TUNED)
    head = ["split", "seed", "training", "features", "probe", "accuracy", "95% interval"]
    common.report("audio_digits", head, rows, results, args.output)


def means(results: list[dict[str, Any]], title: str, splits: tuple[str, ...]) -> list[list[str]]:
    """Rows of the mean accuracy over these splits, if all were run."""
    if not set(splits) <= {found["split"] for found in results}:
        return []
    told: dict[tuple[str, str], list[float]] = {}
    for found in results:
        if found["split"] in splits:
            for row in found["scores"]["rows"]:
                key = row["features"], row["protocol"]
                told.setdefault(key, []).append(row["score"]["value"])
    return [
        [f"mean of {title}", "", "", *key, f"{sum(values) / len(values):.3f}", ""]
        for key, values in told.items()
    ]


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
