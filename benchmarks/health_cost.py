"""What the observer `health` costs at its defaults: the same run with and without it.

    python benchmarks/health_cost.py --steps 1000 --output benchmarks/results/health_cost

Both runs are trained in this process, one after the other. The cleanest figure is the time inside
the observer over all time of the run that has it, since two runs never find the machine alike; the
ratio of both runs stands beside it. Seconds are those of the processor (all threads of the
process), which do not count what other processes take, and of the clock.
"""

from __future__ import annotations

import argparse
import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import common

from jepa.core.config import load_run
from jepa.core.training import session
from jepa.core.training.distributed import start
from jepa.observers.health import Health

BARE = "observers=[jsonl]"
WATCHED = "observers=[jsonl, health]"


class Seconds(NamedTuple):
    """Of the processor and of the clock."""

    cpu: float
    wall: float


def now() -> Seconds:
    return Seconds(time.process_time(), time.perf_counter())


class Stopwatch:
    """Adds up the time inside the methods of a class."""

    def __init__(self, cls: type, names: tuple[str, ...]) -> None:
        self.spent: dict[str, list[Seconds]] = {name: [] for name in names}
        for name in names:
            setattr(cls, name, self._timed(name, getattr(cls, name)))

    def _timed(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any) -> Any:
            began = now()
            try:
                return method(*args)
            finally:
                ended = now()
                self.spent[name].append(Seconds(ended.cpu - began.cpu, ended.wall - began.wall))

        return timed

    def total(self, *names: str) -> Seconds:
        spent = [each for name in names or self.spent for each in self.spent[name]]
        return Seconds(sum(each.cpu for each in spent), sum(each.wall for each in spent))


def train(steps: int, observers: str, more: list[str]) -> Seconds:
    settings = [f"train.max_steps={steps}", "data.workers=0", observers, *more]
    config = load_run("image/quickstart", settings)
    with tempfile.TemporaryDirectory() as folder:
        began = now()
        session.train(config, Path(folder), start(config.train.device))
        ended = now()
    return Seconds(ended.cpu - began.cpu, ended.wall - began.wall)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    args = parser.parse_args()
    train(20, WATCHED, args.overrides)  # what is done once: imports, the first allocations
    watch = Stopwatch(Health, ("start", "measure", "remark", "record"))
    watched = train(args.steps, WATCHED, args.overrides)
    bare = train(args.steps, BARE, args.overrides)
    inside = watch.total()
    rows, results = [], {}
    for clock in ("cpu", "wall"):
        spent, whole, without = (getattr(each, clock) for each in (inside, watched, bare))
        shares = f"{spent / whole:.2%}", f"{whole / without - 1:+.2%}"
        rows.append([clock, f"{spent:.2f}", f"{whole:.1f}", f"{without:.1f}", *shares])
        results[clock] = {"inside": spent, "with": whole, "without": without}
    head = [
        "seconds of",
        "inside health",
        "run with it",
        "run without",
        "inside / run",
        "with / without",
    ]
    common.report("health_cost", head, rows, results, args.output)


if __name__ == "__main__":
    main()
