"""Arguments that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path

PICTURES = (".png", ".pdf", ".svg", ".jpg")
"""Endings of the pictures that commands write."""


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what every command that reads a config takes."""
    parser.add_argument(
        "--config",
        type=name,
        metavar="FILE",
        help="a path, or the name of a shipped config (MODALITY/NAME)",
    )
    parser.add_argument("--modality", help="must agree with the file's; either may be absent")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings that go before the file's"
    )


def add_run_arguments(
    parser: argparse.ArgumentParser,
    metavar: str = "data.key=value",
    overrides: str = "where the run's own samples lie now, such as data.root=/data/pictures",
) -> None:
    """Declare the trained run that a command looks at, and the overrides of its config.

    Args:
        parser: of the command.
        metavar: what an override looks like.
        overrides: their help.
    """
    parser.add_argument(
        "run_folder",
        type=Path,
        metavar="RUN",
        help="folder that `jepa train` wrote, or a checkpoint",
    )
    parser.add_argument("overrides", nargs="*", metavar=metavar, help=overrides)


def run_folder_of(path: Path) -> Path:
    """The training folder, where `path` is it or one of its checkpoints."""
    path = path.resolve()
    return path.parent.parent if path.parent.name == "checkpoints" else path


def count(text: str) -> int:
    """An argument that counts something: 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: 1 or more")
    return number


def share(text: str) -> float:
    """An argument that is a share of something: 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"found {text}, allowed: 0 to 1")
    return number


def name(text: str) -> str:
    """A path or name that must not be empty, as an unset shell variable would make it."""
    if not text:
        raise argparse.ArgumentTypeError("found an empty text, allowed: a path or a name")
    return text


def folder(text: str) -> Path:
    """A folder to write to."""
    return Path(name(text))


def picture(text: str) -> Path:
    """A file whose ending names a format of pictures."""
    path = Path(name(text))
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(
            f"found '{text}', allowed: a file that ends in {', '.join(PICTURES)}"
        )
    return path
