"""The face of the commands: arguments in, exit code out.

Each command is a module of `jepa.commands` (`_` for `-`) with `HELP`, `configure(parser)` and
`run(args)`. Their top levels import no torch, so that help answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

import jepa
from jepa.core.errors import ConfigError, JepaError
from jepa.core.files import hush

COMMANDS = (
    "train",
    "check",
    "masks",
    "health",
    "report",
    "ablate",
    "visualize",
    "eval",
    "embed",
    "neighbors",
    "plugins",
    "new-plugin",
)
"""In the order of the help text."""

_DESCRIPTION = """\
Train joint-embedding predictive architectures on any modality: one engine, every part a plugin.

exit codes: 0 done, 1 failed (data, checkpoints, training), 2 wrong arguments or config,
130 interrupted"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="jepa",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"jepa {jepa.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"jepa.commands.{name.replace('-', '_')}")
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.set_defaults(run=module.run, command=command)
        module.configure(command)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of one command; `key=value` overrides may stand before and after options."""
    args, extra = build_parser().parse_known_args(argv)
    strange = [text for text in extra if text.startswith("-") or "overrides" not in args]
    if strange:
        args.command.error(f"unrecognized arguments: {' '.join(strange)}")
    if extra:
        args.overrides = [*args.overrides, *extra]
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    args = parse(argv)
    try:
        code: int = args.run(args)
        if sys.stdout is not None:  # closed by the shell: `>&-`
            sys.stdout.flush()
    except JepaError as error:
        print(f"jepa: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        print("jepa: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        hush(sys.stdout)
        return 1
    except OSError as error:
        print(f"jepa: {error}", file=sys.stderr)
        _drop_output()
        return 1
    return code


def _drop_output() -> None:
    """Where output cannot be written (a full disk), the interpreter's last flush must not fail."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        hush(sys.stdout)
