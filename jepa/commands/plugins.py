"""`jepa plugins`: which parts are installed, and whose they are."""

from __future__ import annotations

import argparse
import json

import attrs

from jepa.core import registry
from jepa.core.errors import PluginError
from jepa.core.registry import Claim, Plugin

HELP = "list the parts that are installed, by kind, name and package, without importing any"

_EPILOG = """\
A part is named by `name` or by `package:name`. Where two packages claim one name, only
`package:name` picks one; a built-in name always means the built-in part.
With --check the exit code is 1 if any part is broken, ours or a stranger's."""

_NOTES = {
    Claim.SOLE: "",
    Claim.DISPUTED: "several packages claim this name: say {}",
    Claim.SHADOWED: "the name means the built-in part: say {}",
}


@attrs.frozen
class Row:
    """One line of the list."""

    plugin: Plugin
    claim: Claim
    fault: str | None

    @property
    def note(self) -> str:
        """How to name the part, where its name alone does not."""
        return _NOTES[self.claim].format(self.plugin.qualified)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument(
        "--check", action="store_true", help="import each part: ok, or broken with its reason"
    )


def run(args: argparse.Namespace) -> int:
    """List the plugins; 1 if `--check` finds a broken one."""
    rows = [
        Row(plugin, registry.claim(plugin), _fault(plugin) if args.check else None)
        for plugin in registry.plugins()
    ]
    print(_as_json(rows, args.check) if args.json else _as_table(rows, args.check))
    return int(any(row.fault is not None for row in rows))


def _fault(plugin: Plugin) -> str | None:
    try:
        registry.load(plugin)
    except PluginError as error:
        return str(error)
    return None


def _as_json(rows: list[Row], checked: bool) -> str:
    listed = []
    for row in rows:
        entry = {
            **attrs.asdict(row.plugin),
            "builtin": row.plugin.builtin,
            "claim": row.claim.value,
        }
        if checked:
            entry |= {"ok": row.fault is None, "fault": row.fault}
        listed.append(entry)
    return json.dumps(listed, indent=2)


def _as_table(rows: list[Row], checked: bool) -> str:
    head = ("KIND", "NAME", "PACKAGE", "VERSION", *(["CHECK"] if checked else []))
    body = [
        (
            row.plugin.kind,
            row.plugin.name,
            row.plugin.package,
            row.plugin.version,
            *(["ok" if row.fault is None else "broken"] if checked else []),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    lines = []
    for cells, row in zip([head, *body], [None, *rows], strict=True):
        padded = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        lines.append(f"{padded}  {row.note if row else ''}".rstrip())
        if row and row.fault is not None:
            lines.append(f"    {row.fault}")
    return "\n".join(lines)
