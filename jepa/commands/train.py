"""`jepa train`: one run, on one process or several."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jepa.commands.arguments import add_config_arguments, count, folder
from jepa.core.errors import ConfigError, JepaError
from jepa.core.training import launch
from jepa.core.training.signals import StopRequest

if TYPE_CHECKING:
    from jepa.core.training.session import Prepared

HELP = "train a model, or go on where the output folder's newest checkpoint stands"

_EPILOG = """\
examples:
  jepa train --config image/quickstart --output runs/first
  jepa train --modality image --config configs/image/vith14.yaml --nproc 8 train.accumulate=2
  jepa train --config image/vitb16 --nproc 8 train.global_batch=1024 optim.lr=5e-4
  torchrun --nproc-per-node=8 -m jepa train --config image/vitb16 train.accumulate=2

key=value sets any key of the config; a value is YAML. The data path is data.root, or JEPA_DATA.
SIGTERM, SIGINT and SIGUSR1 save and exit 0, and leave OUTPUT/INTERRUPTED; a finished run leaves
OUTPUT/COMPLETED. The same command again goes on."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_config_arguments(parser)
    parser.add_argument(
        "--output", type=folder, metavar="DIR", help="folder of the run [runs/NAME of config]"
    )
    parser.add_argument(
        "--nproc", type=count, metavar="N", help="processes on this machine (GPUs, or CPU shares)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check config, data and parts; train and write nothing",
    )
    parser.add_argument(
        "--allow-config-change",
        action="store_true",
        help="go on from a checkpoint although the config differs from its own",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when completed, and when interrupted after saving."""
    launch.die_with_parent()
    if args.nproc is not None and not launch.is_child():
        return launch.launch(args.nproc, sys.argv[1:])
    # From here on, so that a signal which comes while modules load or data are listed counts too.
    with StopRequest() as request:
        return _train(args, request)


def _train(args: argparse.Namespace, request: StopRequest) -> int:
    from jepa.core.config import load_run
    from jepa.core.training import distributed, session

    try:
        config = load_run(args.config, args.overrides, args.modality)
    except ConfigError:
        if os.environ.get("LOCAL_RANK", "0") != "0":  # one process of a machine says it for all
            return 2
        raise
    output: Path = args.output or Path("runs") / _name(args)
    world = distributed.start(config.train.device)
    code = 1
    try:
        if args.dry_run:
            prepared = session.prepare(config, world)
            if world.is_first:
                print(_plan_text(prepared, output))
        else:
            outcome = session.train(
                config,
                output,
                world,
                allow_config_change=args.allow_config_change,
                request=request,
            )
            if world.is_first:
                print(f"{outcome}: {output}", flush=True)
        code = 0
    except (JepaError, OSError) as error:
        if world.size == 1:
            raise
        # Others may still wait for this process, so it must end here and now.
        print(f"jepa: process {world.rank}: {error}", file=sys.stderr)
        code = 2 if isinstance(error, ConfigError) else 1
    distributed.leave(world, code)
    return code


def _name(args: argparse.Namespace) -> str:
    return Path(args.config).stem if args.config else str(args.modality)


def _plan_text(prepared: Prepared, output: Path) -> str:
    from jepa.core.training.checkpoint import checkpoints

    plan, grid = prepared.plan, prepared.built.grid
    lines = [
        f"data        {len(prepared.source)} samples ({plan.config.data.source.name}"
        + (f", {plan.config.data.root})" if plan.config.data.root else ")"),
        f"grid        {grid}, {grid.size} tokens",
        f"steps       {plan.schedules.total_steps}, {plan.steps_per_epoch} an epoch",
        f"step        {plan.global_batch} samples = {plan.processes} (processes) x "
        f"{plan.config.train.accumulate} (micro-steps) x {plan.micro}",
        f"output      {output}" + (" (goes on)" if checkpoints(output / "checkpoints") else ""),
        "nothing was trained or written (--dry-run)",
    ]
    return "\n".join(lines)
