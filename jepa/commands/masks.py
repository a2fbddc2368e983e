"""`jepa masks`: what a config's masks look like over its own data, and what they cover."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jepa.commands.arguments import PICTURES, add_config_arguments, count, name, picture, share

if TYPE_CHECKING:
    from jepa.core.config import RunConfig
    from jepa.core.coverage import Coverage
    from jepa.core.grid import Grid

HELP = "draw sampled masks over real inputs, and how often each place is context or target"

_STDOUT = "-"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add_config_arguments(parser)
    parser.add_argument(
        "--output",
        type=picture,
        metavar="FILE",
        required=True,
        help=f"picture to write ({', '.join(PICTURES)})",
    )
    parser.add_argument(
        "--samples", type=count, default=8, metavar="N", help="rows of the picture [8]"
    )
    parser.add_argument(
        "--batches", type=count, default=200, metavar="N", help="steps that are counted [200]"
    )
    parser.add_argument(
        "--progress",
        type=share,
        default=0.0,
        metavar="X",
        help="share of training done, 0 to 1, where masks change over it [0]",
    )
    parser.add_argument(
        "--json",
        type=name,
        metavar="FILE",
        help="write the numbers there; - prints them and nothing else",
    )


def run(args: argparse.Namespace) -> int:
    """Draw, count, print and write."""
    import json

    from jepa.core.config import load_run

    config = load_run(args.config, args.overrides, args.modality)
    # Before the masks are drawn, which takes a while.
    for path in (args.output, args.json):
        if path is not None and path != _STDOUT:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
    grid, coverages = draw_masks(config, args.output, args.samples, args.batches, args.progress)
    numbers = json.dumps(_numbers(config, grid, args.progress, coverages), indent=2)
    if args.json == _STDOUT:
        print(numbers)
        return 0
    print(_text(config, grid, coverages))
    print(f"picture      {args.output}")
    if args.json is not None:
        Path(args.json).write_text(f"{numbers}\n", encoding="utf-8")
        print(f"numbers      {args.json}")
    return 0


def draw_masks(
    config: RunConfig, output: Path, samples: int, batches: int, progress: float = 0.0
) -> tuple[Grid, list[Coverage]]:
    """Draw a config's masks over its own data.

    Args:
        config: of the run.
        output: picture to write, in a folder that exists.
        samples: rows of the picture, at most.
        batches: steps that are counted.
        progress: share of the schedule done at all of them.

    Returns:
        The grid, and what the masks of each view cover.
    """
    import torch

    from jepa.core.build import make_backbone, make_modality, make_samplers
    from jepa.core.coverage import measure
    from jepa.core.data.opening import open_source
    from jepa.core.rng import Rng
    from jepa.evaluation.masks_figure import View, draw
    from jepa.evaluation.previews import previews

    modality = make_modality(config)
    with torch.device("meta"):
        grid = make_backbone(config, modality).tokenizer.grid
    samplers = make_samplers(config, grid)
    seed, batch = config.train.seed, config.train.global_batch

    groups = [min(sampler.trim_group or batch, batch) for sampler in samplers]
    pictures = previews(open_source(config.data, modality), modality, min(samples, *groups), grid)
    views = []
    for view, (sampler, group) in enumerate(zip(samplers, groups, strict=True)):
        # The masks of the first step, of which the first samples are shown.
        masks = sampler.sample(group, Rng(seed, 0, group, 0, batch, view, progress))
        coverage = measure(
            sampler,
            grid,
            seed=seed,
            steps=batches,
            global_batch=batch,
            view=view,
            progress=progress,
        )
        views.append(View(config.masks[view].name, masks, coverage))

    draw(pictures, grid, views, output)
    return grid, [view.coverage for view in views]


def _text(config: RunConfig, grid: Grid, coverages: list[Coverage]) -> str:
    lines = [f"grid         {grid}: {grid.size} tokens"]
    for view, (part, found) in enumerate(zip(config.masks, coverages, strict=True)):
        context, target = found.context_tokens, found.target_tokens
        lines += [
            f"masks.{view}      {part.name}, {found.samples} samples",
            f"  context    {context.mean:.1f} tokens ({context.min} to {context.max}), "
            f"{found.context_share:.1%} of the grid",
            f"  targets    {found.targets} blocks of {target.mean:.1f} tokens "
            f"({target.min} to {target.max}), together {found.target_share:.1%} of the grid",
        ]
        never = (("context", found.never_context), ("target", found.never_target))
        lines += [f"  never {name}: {n} of {grid.size} places" for name, n in never if n]
    return "\n".join(lines)


def _numbers(
    config: RunConfig, grid: Grid, progress: float, coverages: list[Coverage]
) -> dict[str, Any]:
    """Everything that was counted, as JSON holds it; coverage is nested like the grid."""
    import attrs

    def one(name: str, found: Coverage) -> dict[str, Any]:
        return {
            "sampler": name,
            "samples": found.samples,
            "targets": found.targets,
            "context_tokens": attrs.asdict(found.context_tokens),
            "target_tokens": attrs.asdict(found.target_tokens),
            "context_share": found.context_share,
            "target_share": found.target_share,
            "never_context": found.never_context,
            "never_target": found.never_target,
            "coverage": {
                "context": found.context.reshape(grid.shape).tolist(),
                "target": found.target.reshape(grid.shape).tolist(),
            },
        }

    return {
        "grid": {"shape": list(grid.shape), "axes": list(grid.axes)},
        "global_batch": config.train.global_batch,
        "seed": config.train.seed,
        "progress": progress,
        "views": [
            one(part.name, found) for part, found in zip(config.masks, coverages, strict=True)
        ],
    }
