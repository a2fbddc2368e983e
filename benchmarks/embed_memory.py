"""Memory of `jepa embed` by the number of samples: does it grow from 5,000 to 20,000?

    python benchmarks/embed_memory.py --run runs/first --data /data/pictures \
        --output benchmarks/results/embed_memory

Each measurement is a process of its own that embeds the first so many files of a folder. `peak` is
the most that its main process held at any time, the writing of the result included; `slope` is a
straight line through the peaks, with the standard error that their scatter gives; `within` is the
slope of what one process holds at a time while it goes from 5,000 samples on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import common
import numpy as np

CODE = """
import json, re, sys
from pathlib import Path
from jepa import cli
from jepa.commands.ticker import Ticker

def memory(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

held = []
Ticker.tell = lambda self, done: held.append((done, memory("VmRSS")))
code = cli.main(["embed", *sys.argv[1:]])
print(json.dumps({"peak_mib": memory("VmHWM"), "held": held}))
sys.exit(code)
"""


def links(data: Path, folder: Path, count: int) -> None:
    """Links to the first files of a folder, at any depth, numbered."""
    folder.mkdir()
    files = sorted(path for path in data.rglob("*.*") if path.is_file())
    if len(files) < count:
        raise SystemExit(f"{data}: found {len(files)} files, wanted {count}")
    # Spread over the whole folder, whose files may be sorted by kind.
    for place, file in enumerate(islice(files[:: len(files) // count], count)):
        (folder / f"{place:06d}{file.suffix}").symlink_to(file)


def measure(run: Path, folder: Path, output: Path, more: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-c", CODE, str(run), "--data", str(folder)]
    command += ["--output", str(output), "--overwrite", *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of a straight line and its standard error."""
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    left = y - y.mean() - slope * centred
    return slope, float(np.sqrt(left @ left / (len(x) - 2) / (centred @ centred)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="a trained run")
    parser.add_argument("--data", type=Path, required=True, help="folder of files")
    parser.add_argument("--counts", type=int, nargs="+", default=[5_000, 10_000, 20_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--per-token", action="store_true", help="measure that too")
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    args = parser.parse_args()
    results, rows = [], []
    with tempfile.TemporaryDirectory() as temporary:
        for count in args.counts:
            links(args.data, Path(temporary) / str(count), count)
        for kind, more in (("pooled", []), ("per token", ["--per-token"]))[: 1 + args.per_token]:
            peaks, within = [], []
            for _ in range(args.repeats):
                for count in args.counts:
                    folder = Path(temporary) / str(count)
                    found = measure(args.run, folder, Path(temporary) / "features.npz", more)
                    peaks.append((count, found["peak_mib"]))
                    print(f"{kind}, {count:,} samples: peak {found['peak_mib']:.1f} MiB")
                held = np.array(found["held"])  # of the largest count
                late = held[held[:, 0] >= min(args.counts)]
                within.append(1000 * line(late[:, 0], late[:, 1])[0])
            x, y = np.array(peaks).T
            slope, error = (1000 * value for value in line(x, y))
            results.append(
                {
                    "features": kind,
                    "peaks_mib": peaks,
                    "slope_mib_per_1000": slope,
                    "standard_error": error,
                    "within_mib_per_1000": within,
                }
            )
            means = [f"{y[x == count].mean():.1f} ± {y[x == count].std(ddof=1):.1f}"
                     for count in args.counts]  # fmt: skip
            shown = ", ".join(f"{value:+.3f}" for value in within)
            rows.append([kind, *means, f"{slope:+.3f} ± {error:.3f}", shown])
    head = ["features", *(f"peak at {count:,} (MiB)" for count in args.counts)]
    head += ["slope (MiB / 1,000 samples)", "within a process"]
    common.report("Memory of jepa embed", head, rows, results, args.output)


if __name__ == "__main__":
    main()
