"""`jepa report`: what a run has learned, as a table and pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jepa.commands.arguments import add_run_arguments, folder, name, run_folder_of
from jepa.commands.eval import add_limits, read_protocols

if TYPE_CHECKING:
    import torch

    from jepa.core.config import RunConfig
    from jepa.core.data.source import Source
    from jepa.evaluation.candidates import Splits
    from jepa.evaluation.comparison import Comparison
    from jepa.evaluation.loading import Frozen

HELP = "score a trained run beside random init and raw inputs, and draw what it learned"

_EPILOG = """\
The table holds the accuracy of k-NN and of logistic regression on three kinds of features of the
same samples: the trained target encoder, the same network with random weights, and the plain
content of the samples. It needs labels: a source with two labelled splits. Pictures need none."""

_PROBES = ("knn", "logistic")
_PICTURED = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser)
    parser.add_argument("--output", type=folder, metavar="DIR", help="where to write [RUN/report]")
    add_limits(parser)
    parser.add_argument("--train-split", type=name, metavar="NAME", help="to fit on [train]")
    parser.add_argument("--test-split", type=name, metavar="NAME", help="to score on [test]")


def run(args: argparse.Namespace) -> int:
    """Score, draw, write, and say where everything is."""
    import json

    import attrs
    from rich.console import Console

    from jepa.core.data.opening import open_source
    from jepa.core.errors import DataError
    from jepa.core.files import write_atomic
    from jepa.core.training.host import tune_host
    from jepa.evaluation.candidates import labelled_splits
    from jepa.evaluation.comparison_table import TABLE_WIDTH, table
    from jepa.evaluation.loading import device_of, find_checkpoint, load_backbone

    checkpoint = find_checkpoint(args.run_folder)
    frozen = load_backbone(checkpoint.path, args.overrides)
    run_folder = run_folder_of(args.run_folder)
    output: Path = args.output or run_folder / "report"
    output.mkdir(parents=True, exist_ok=True)
    device = device_of(frozen.config)
    tune_host(device, deterministic=False)
    console = Console(highlight=False)
    console.print(f"checkpoint   {checkpoint.path}", soft_wrap=True)

    comparison: Comparison | None = None
    try:
        splits = labelled_splits(
            frozen.config, frozen.modality, args.train_split or "train", args.test_split or "test"
        )
    except DataError as error:
        if args.train_split or args.test_split:
            raise
        console.print(f"no probes: they need two labelled splits, but {error}", soft_wrap=True)
        shown = open_source(frozen.config.data, frozen.modality)
    else:
        shown = splits.test
        comparison = _compare(args, frozen, checkpoint.path, splits, device)
        # A terminal may be too narrow: wrapped lines can be read, cut numbers can't.
        Console(highlight=False, width=max(console.width, TABLE_WIDTH)).print(table(comparison))

    pictures = _draw(frozen, shown, run_folder, output, device)
    if len(pictures) < 3:
        console.print(f"no loss curve: {run_folder} has no metrics.jsonl (observer jsonl)")
    told = {
        "checkpoint": str(checkpoint.path),
        "step": checkpoint.step,
        "probes": None if comparison is None else attrs.asdict(comparison),
        "pictures": [path.name for path in pictures],
    }
    write_atomic(output / "report.json", json.dumps(told, indent=2) + "\n")
    console.print(f"numbers      {output / 'report.json'}", soft_wrap=True)
    for path in pictures:
        console.print(f"picture      {path}", soft_wrap=True)
    return 0


def _compare(
    args: argparse.Namespace,
    frozen: Frozen,
    checkpoint: Path,
    splits: Splits,
    device: torch.device,
) -> Comparison:
    from jepa.evaluation.candidates import candidates
    from jepa.evaluation.comparison import compare

    found = candidates(
        frozen,
        checkpoint,
        splits,
        device,
        train_samples=args.train_samples,
        test_samples=args.test_samples,
        random_inits=args.random_inits,
        cache=run_folder_of(args.run_folder) / "eval" / "features",
    )
    return compare(found, {part.name: part.cls(part.config) for part in read_protocols(_PROBES)})


def _draw(
    frozen: Frozen, source: Source, folder: Path, output: Path, device: torch.device
) -> list[Path]:
    """Every picture that this run has what it takes for."""
    from jepa.commands.masks import draw_masks

    pictures = [_draw_pca(frozen, source, output / "pca.png", device)]
    metrics = folder / "metrics.jsonl"
    if metrics.is_file():
        pictures.append(_draw_curve(frozen.config, metrics, output / "loss_curve.png"))
    draw_masks(frozen.config, output / "masks.png", samples=6, batches=50)
    return [*pictures, output / "masks.png"]


def _draw_curve(config: RunConfig, metrics: Path, path: Path) -> Path:
    from jepa.evaluation.curves import loss_curve, read_curve

    loss, lr = read_curve(metrics, "train/loss"), read_curve(metrics, "schedule/lr")
    loss_curve(loss, lr, config.model.objective.name).savefig(path)
    return path


def _draw_pca(frozen: Frozen, source: Source, path: Path, device: torch.device) -> Path:
    import torch

    from jepa.core.data.loading import evaluation_batches
    from jepa.core.pictures import pictured
    from jepa.evaluation.features import samples_to_show
    from jepa.evaluation.loading import random_backbone
    from jepa.evaluation.pca import pca_sheet

    backbone, modality, config = frozen
    batch = next(
        evaluation_batches(source, modality, _PICTURED, 0, samples_to_show(source, _PICTURED))
    )
    networks = {
        "trained": backbone,
        "random init": random_backbone(config, modality, config.train.seed),
    }
    prepare = modality.device_transform().to(device)
    with torch.inference_mode():
        prepared = prepare(batch.inputs.to(device))
        tokens = {name: network.to(device)(prepared).cpu() for name, network in networks.items()}
    names = ["" for _ in batch.indices]
    if batch.labels is not None:
        names = [source.classes[label] for label in batch.labels.tolist()]
    grid = backbone.tokenizer.grid_for(prepared.shape[1:])
    figure = pca_sheet(pictured(modality, batch.inputs, grid), tokens, grid, tuple(names))
    figure.savefig(path)
    return path
