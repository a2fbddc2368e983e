"""What all benchmarks tell: the machine, the versions, the command, a table and JSON."""

from __future__ import annotations

import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":", 1)[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def commit() -> str:
    """The commit that the figures belong to; `+` where the tree holds more."""

    def git(*args: str) -> str:
        return subprocess.run(
            ["git", *args], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (
            "+" if git("status", "--porcelain", "jepa") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def report(
    name: str, head: Sequence[str], rows: Sequence[Sequence[str]], results: Any, output: Path | None
) -> None:
    """Print the table; with `output`, write OUTPUT.json and OUTPUT.md."""
    told = {
        "benchmark": name,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "results": results,
    }
    table = "\n".join(
        f"| {' | '.join(map(str, row))} |" for row in (head, ["---"] * len(head), *rows)
    )
    print(f"\n{table}")
    if output is None:
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps(told, indent=2) + "\n")
    m = told["machine"]
    where = f"{m['gpu'] or m['cpu']}, {m['cores']} cores, torch {m['torch']}"
    head_lines = f"`{told['command']}`  \n{told['date']}, commit {told['commit']}, {where}"
    output.with_suffix(".md").write_text(f"# {name}\n\n{head_lines}\n\n{table}\n")
