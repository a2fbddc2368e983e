"""`jepa health`: whether a run learns, while it trains or afterwards."""

from __future__ import annotations

import argparse
from pathlib import Path

from jepa.commands.arguments import folder

HELP = "say whether a run learns, also while it trains, and draw its measures"

_EPILOG = """\
It reads metrics.jsonl, where the observer `health` writes what it measures. docs/health.md has the
rules. The exit code is 0 whatever the verdict; with --strict it is 1 where the run collapses or
diverges."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "run_folder", type=Path, metavar="RUN", help="folder that `jepa train` writes to"
    )
    parser.add_argument("--output", type=folder, metavar="DIR", help="where to write [RUN/health]")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if the run collapses or diverges"
    )


def run(args: argparse.Namespace) -> int:
    """Judge, draw, write, and say where everything is."""
    import json

    from rich.console import Console

    from jepa.core.errors import DataError
    from jepa.core.files import write_atomic
    from jepa.core.health.history import history
    from jepa.core.health.trace import HEALTH, METRICS_FILE, read_trace
    from jepa.evaluation.health_curves import health_curves
    from jepa.evaluation.health_table import (
        TABLE_WIDTH,
        as_numbers,
        history_table,
        measures_table,
    )

    metrics = args.run_folder / METRICS_FILE
    trace = read_trace(metrics)
    if not any(name.startswith(HEALTH) for name in trace.names):
        raise DataError(
            f"{metrics}: no {HEALTH} scalars in it; the observer 'health' was off, or the run has "
            "not made its first step. The defaults have it: leave 'observers' out of the config, "
            "or name health beside jsonl"
        )
    found = history(trace)
    step, verdict = found.now
    output: Path = args.output or args.run_folder / "health"
    output.mkdir(parents=True, exist_ok=True)
    health_curves(trace, found).savefig(output / "health.png")
    numbers = json.dumps(as_numbers(trace, found), indent=2, allow_nan=False)
    write_atomic(output / "health.json", numbers + "\n")

    console = Console(highlight=False)
    # A terminal may be too narrow: wrapped lines can be read, cut numbers can't.
    wide = Console(highlight=False, width=max(console.width, TABLE_WIDTH))
    console.print(f"step {step}: {verdict.advice}\n", style="bold", soft_wrap=True)
    wide.print(history_table(found), "", measures_table(trace), "")
    console.print(f"numbers      {output / 'health.json'}", soft_wrap=True)
    console.print(f"picture      {output / 'health.png'}", soft_wrap=True)
    return int(args.strict and verdict.kind.alarm)
