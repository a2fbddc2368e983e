"""`jepa check`: is a config sound, and what does it cost?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jepa.commands.arguments import add_config_arguments, count
from jepa.core.errors import ConfigError

if TYPE_CHECKING:
    from jepa.core.interfaces import MaskSampler
    from jepa.core.training.plan import Plan

HELP = "validate a config, build it without memory, print parameters, tokens, memory and FLOPs"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print an object")
    parser.add_argument(
        "--nproc", type=count, default=1, metavar="N", help="processes that share a step [1]"
    )


def run(args: argparse.Namespace) -> int:
    """Print what the config costs; faults come as errors."""
    import json

    from jepa.core.build import make_samplers
    from jepa.core.config import load_run
    from jepa.core.training import cost as costs
    from jepa.core.training.plan import Plan

    config = load_run(args.config, args.overrides, args.modality)
    cost = costs.count(config)
    # Data are not opened, so a plan is made for one epoch's worth of samples.
    plan = Plan(config, 0, args.nproc, config.train.global_batch)
    notes = _notes(plan, make_samplers(config, cost.grid))
    gib = {name: cost.memory_bytes(plan.micro, name == "bf16") / 2**30 for name in ("fp32", "bf16")}
    if args.json:
        told = {
            "grid": list(cost.grid.shape),
            "tokens": cost.grid.size,
            "context_tokens": list(cost.context_tokens),
            "target_tokens": list(cost.target_tokens),
            "parameters": {
                "encoder": cost.encoder,
                "predictor": cost.predictor,
                "target": cost.target,
            },
            "flops_per_sample": cost.flops_per_sample,
            "micro_batch": plan.micro,
            "memory_gib": gib,
            "notes": notes,
        }
        print(json.dumps(told, indent=2))
        return 0
    views = range(len(cost.context_tokens))
    print(
        f"parameters   encoder {_count(cost.encoder)}, predictor {_count(cost.predictor)}, ", end=""
    )
    print(f"target {_count(cost.target)} (not trained)")
    print(f"tokens       {cost.grid.size} on a grid of {cost.grid}")
    for view in views:
        print(
            f"masks.{view}      context {cost.context_tokens[view]}, "
            f"targets {cost.target_tokens[view]} in the first step"
        )
    print(f"FLOPs        {cost.flops_per_sample / 1e9:.2f} G a training sample")
    print(
        f"memory       about {_memory(gib['fp32'])} in fp32, {_memory(gib['bf16'])} in bf16, on "
        f"each process at micro-steps of {plan.micro}"
    )
    for note in notes:
        on = "1 process" if args.nproc == 1 else f"{args.nproc} processes"
        print(f"note         on {on}, {note}")
    return 0


def _notes(plan: Plan, samplers: Sequence[MaskSampler]) -> list[str]:
    """What training on so many processes would refuse, though the config is sound."""
    try:
        plan.check_groups(samplers)
    except ConfigError as error:
        return [str(fault) for fault in error.faults]
    return []


def _memory(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 1 else f"{gib * 1024:.0f} MiB"


def _count(numbers: int) -> str:
    return f"{numbers / 1e6:.1f} M" if numbers >= 1e5 else str(numbers)
