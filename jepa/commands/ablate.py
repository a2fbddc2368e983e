"""`jepa ablate`: a sweep of ordinary runs that differ in what a file varies, and its table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jepa.commands.arguments import count, folder, name
from jepa.core.training.signals import StopRequest

if TYPE_CHECKING:
    from jepa.ablation.outcome import Outcome
    from jepa.ablation.plan import Sweep
    from jepa.core.training.runfolder import RunFolder

HELP = "vary parts or settings, train each variant over several seeds, and compare them"

_EPILOG = """\
examples:
  jepa ablate --config ablations/masks --output runs/masks data.root=/data/cifar10
  jepa ablate --config ablations/masks --output runs/masks --dry-run

FILE says what varies, the seeds, the budget and what is measured. key=value goes before the base's
settings in every run. The data path is data.root, or JEPA_DATA. Every run is a `jepa train` folder
under DIR/runs; results.csv, results.md and report.html are written after each.
SIGTERM, SIGINT and SIGUSR1 save and exit 0, and leave DIR/INTERRUPTED; a finished sweep leaves
DIR/COMPLETED. The same command again goes on, and tries failed runs again."""

SWEEP_FILE = "ablation.yaml"
"""The sweep's settings with the overrides of the command line, in its folder."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--config",
        type=name,
        metavar="FILE",
        required=True,
        help="a path, or the name of a shipped sweep (ablations/NAME)",
    )
    parser.add_argument(
        "--output", type=folder, metavar="DIR", help="folder of the sweep [runs/NAME of config]"
    )
    parser.add_argument(
        "--parallel", type=count, metavar="N", help="runs at a time, instead of the file's"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check every variant and show the runs and their commands; write nothing",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings for every run")


def run(args: argparse.Namespace) -> int:
    """Make the sweep; 0 when all runs are done and when interrupted, 1 when one has failed."""
    # From here on, so that a signal which comes while modules load counts too.
    with StopRequest() as request:
        sweep = _plan(args)
        if not args.dry_run:
            return _make(sweep, request)
    from jepa.commands.ablate_texts import show_plan

    show_plan(sweep)
    return 0


def _plan(args: argparse.Namespace) -> Sweep:
    import attrs

    from jepa.ablation.plan import plan
    from jepa.ablation.settings import load_ablation
    from jepa.ablation.sources import with_samples

    config = load_ablation(args.config)
    if args.parallel is not None:
        config = attrs.evolve(config, parallel=args.parallel)
    output: Path = args.output or Path("runs") / Path(args.config).stem
    command = ("ablate", "--config", args.config, "--output", str(output), *args.overrides)
    return attrs.evolve(with_samples(plan(config, output, args.overrides)), command=command)


def _make(sweep: Sweep, request: StopRequest) -> int:
    from jepa.ablation.outcome import read_outcome
    from jepa.ablation.results import write_results
    from jepa.ablation.runner import make_runs
    from jepa.commands.ablate_texts import Progress
    from jepa.core.training.runfolder import RunFolder

    def outcomes() -> list[Outcome]:
        return [read_outcome(run) for run in sweep.runs]

    def keep() -> None:
        try:
            write_results(sweep, outcomes())
        except OSError as error:  # other runs go on; the results are written again at the end
            print(f"jepa: the results are not written: {error}", file=sys.stderr, flush=True)

    place = RunFolder(sweep.folder)
    place.lock()
    try:
        place.clear_marks()
        _begin(sweep)
        make_runs(sweep, Progress(outcomes(), keep), request)
        found = outcomes()
        for path in write_results(sweep, found):
            print(f"results      {path}")
        return _conclude(sweep, found, place, stopped=request.received is not None)
    finally:
        place.unlock()


def _begin(sweep: Sweep) -> None:
    """Write down what is made, and draw the masks, before the first run starts."""
    import attrs

    from jepa.ablation.masks_sheet import draw_masks_sheets
    from jepa.core.config import to_yaml
    from jepa.core.errors import JepaError
    from jepa.core.files import write_atomic
    from jepa.core.settings import unstructure

    overrides = (*sweep.config.overrides, *sweep.overrides)
    config = attrs.evolve(sweep.config, overrides=overrides)
    write_atomic(sweep.folder / SWEEP_FILE, to_yaml(unstructure(config)))
    try:
        draw_masks_sheets(sweep)
    except JepaError as error:  # each run will say for itself what it cannot read
        print(f"jepa: the masks are not drawn: {error}", file=sys.stderr)


def _conclude(sweep: Sweep, outcomes: Sequence[Outcome], place: RunFolder, *, stopped: bool) -> int:
    """Mark how the sweep ended, and say it; gives the exit code."""
    done = sum(outcome.status == "done" for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.status == "failed"]
    told = f"{place.path} ({done} of {len(outcomes)} runs done)"
    if done == len(outcomes):
        place.mark("completed", done)
        print(f"completed: {told}", flush=True)
        return 0
    if stopped or not failed:
        place.mark("interrupted", done)
        print(f"interrupted: {told}; the same command goes on", flush=True)
        return 0
    listed = "".join(f"\n  {each.run.name}: {each.reason}" for each in failed)
    print(
        f"jepa: {len(failed)} of {len(outcomes)} runs failed; the same command tries them again"
        f"{listed}",
        file=sys.stderr,
    )
    return 1
