"""A loader process that dies ends the run with a word, and leaves nothing that hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import arguments, environment, marks, step_reached, wait_for

pytestmark = pytest.mark.slow


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(c) for task in tasks.iterdir() for c in (task / "children").read_text().split()]


def test_a_killed_loader_process_ends_the_run(tmp_path: Path) -> None:
    output = tmp_path / "run"
    argv = arguments(output, "train.max_steps=100000", "data.workers=2", "train.epochs=1000")
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "jepa", *argv], stdout=log, stderr=log, env=environment()
        )
    try:
        wait_for("steps", lambda: step_reached(output) >= 3)
        loaders = children(run.pid)
        assert len(loaders) == 2
        os.kill(loaders[0], signal.SIGKILL)
        assert run.wait(60) == 1
    finally:
        run.kill()
    said = (tmp_path / "log").read_text()
    assert "jepa: a loader process died" in said
    assert "Traceback" not in said
    assert not marks(output)
    wait_for("the end of the other", lambda: not Path(f"/proc/{loaders[1]}").exists())
