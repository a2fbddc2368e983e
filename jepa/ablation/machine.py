"""Where a sweep ran: the machine, and what of this package."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch

import jepa


def machine() -> str:
    """The processor or GPU, its cores, and versions, in one line."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    gpus = [torch.cuda.get_device_name(place) for place in range(torch.cuda.device_count())]
    on = ", ".join(f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus))
    parts = [on, _processor(), f"{cores} cores", f"torch {torch.__version__}"]
    return ", ".join(filter(None, [*parts, f"Python {platform.python_version()}"]))


def version() -> str:
    """The package's version, and the commit of the checkout that it runs from, if it is one."""
    commit = _commit(Path(jepa.__file__).parents[1])
    return f"anyjepa {jepa.__version__}" + (f", commit {commit}" if commit else "")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit(root: Path) -> str | None:
    """The checkout's commit, with `+` where its package holds more; None outside a checkout."""

    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    if not (root / ".git").exists():
        return None
    try:
        changed = git("status", "--porcelain", "--", "jepa")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None
