"""`jepa visualize`: what a trained model sees, predicts and does not know, as pictures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jepa.commands.arguments import add_run_arguments, count, folder, run_folder_of
from jepa.evaluation.seeing import NAMES

if TYPE_CHECKING:
    from rich.console import Console

    from jepa.core.training.checkpoint import Checkpoint
    from jepa.evaluation.seeing.report import Shown
    from jepa.evaluation.seeing.sheets import Choices
    from jepa.evaluation.seeing.subject import Subject

HELP = "draw what a trained run sees, predicts and does not know, with one page to read it all"

_EPILOG = """\
Sheets: pca (features as colours), similarity (of one place to all others), attention, nearest (what
the model expects at a hidden place), energy (where its predictions are wrong), decoded (predicted
blocks drawn by a small decoder, several times with different noise). Inputs are from the split
`test` where the source has one. A sheet that the run cannot have is left out, with the reason."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add_run_arguments(parser)
    parser.add_argument(
        "--output", type=folder, metavar="DIR", help="where to write [RUN/visualize]"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=NAMES,
        metavar="SHEET",
        help="draw this sheet and not all; may be given again",
    )
    parser.add_argument("--samples", type=count, default=6, metavar="N", help="inputs to show [6]")
    parser.add_argument(
        "--block",
        type=int,
        default=-1,
        metavar="N",
        help="of the encoder, for attention; 0 is the first, -1 the last [-1]",
    )
    parser.add_argument(
        "--decoder-steps",
        type=count,
        default=1500,
        metavar="N",
        help="of training the decoder; more make clearer guesses [1500]",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, metavar="N", help="of whatever is drawn at random [0]"
    )


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: 0 to 2147483647")
    return number


def run(args: argparse.Namespace) -> int:
    """Load, draw, write, and say where everything is."""
    from rich.console import Console

    from jepa.core.training.host import tune_host
    from jepa.evaluation.loading import (
        device_of,
        find_checkpoint,
        load_jepa,
        read_config,
    )
    from jepa.evaluation.seeing.subject import make_subject

    checkpoint = find_checkpoint(args.run_folder)
    config = read_config(checkpoint, args.overrides)
    built = load_jepa(checkpoint, config)
    device = device_of(config)
    tune_host(device, deterministic=False)
    subject = make_subject(config, built, device, args.samples, args.seed)
    output: Path = args.output or run_folder_of(args.run_folder) / "visualize"
    output.mkdir(parents=True, exist_ok=True)
    console = Console(highlight=False)
    console.print(f"checkpoint   {checkpoint.path}", soft_wrap=True)
    console.print(f"inputs       {_inputs(subject)}", soft_wrap=True)
    sheets, left_out = _draw(args, subject, output, console)
    path = _write_page(args, checkpoint, subject, sheets, left_out, output)
    console.print(f"page         {path}", soft_wrap=True)
    return 0


def _draw(
    args: argparse.Namespace, subject: Subject, output: Path, console: Console
) -> tuple[list[Shown], dict[str, str]]:
    """Draw and write each sheet; those that cannot be are named with the reason."""
    from rich.progress import Progress

    from jepa.core.files import write_atomic
    from jepa.evaluation.seeing.sheets import Choices, draw
    from jepa.evaluation.seeing.subject import SheetError

    sheets: list[Shown] = []
    left_out: dict[str, str] = {}
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("decoder", total=args.decoder_steps, visible=False)
        choices: Choices = Choices(
            block=args.block,
            decoder_steps=args.decoder_steps,
            told=lambda step: progress.update(
                bar, completed=step, visible=step < args.decoder_steps
            ),
        )
        for name in NAMES:
            if args.only and name not in args.only:
                continue
            try:
                sheet = draw(name, subject, choices)
            except SheetError as reason:
                if args.only:
                    raise
                left_out[name] = str(reason)
                console.print(f"left out     {name}: {reason}", soft_wrap=True)
                continue
            write_atomic(output / f"{name}.png", sheet.png)
            console.print(f"picture      {output / f'{name}.png'}", soft_wrap=True)
            sheets.append(sheet)
    return sheets, left_out


def _write_page(
    args: argparse.Namespace,
    checkpoint: Checkpoint,
    subject: Subject,
    sheets: list[Shown],
    left_out: dict[str, str],
    output: Path,
) -> Path:
    from jepa.core.files import write_atomic
    from jepa.core.training.checkpoint import read_document
    from jepa.core.training.resume import CONFIG_DOCUMENT
    from jepa.evaluation.seeing.report import page

    config = subject.config
    facts = {
        "run": str(run_folder_of(args.run_folder)),
        "checkpoint": f"step {checkpoint.step}",
        "modality": config.modality.name,
        "grid": str(subject.grid),
        "inputs": _inputs(subject),
        "seed": str(args.seed),
    }
    if any(sheet.name == "decoded" for sheet in sheets):
        facts["decoder"] = f"trained for {args.decoder_steps} steps"
    name = run_folder_of(args.run_folder).name
    text = page(
        f"What {name} sees",
        facts,
        sheets,
        left_out,
        read_document(checkpoint, CONFIG_DOCUMENT),
    )
    write_atomic(output / "report.html", text)
    return output / "report.html"


def _inputs(subject: Subject) -> str:
    where = "held out from training" if subject.held_out else "of the training data"
    return f"{len(subject.shown)} shown, {where}; {len(subject.bank)} others to compare with"
