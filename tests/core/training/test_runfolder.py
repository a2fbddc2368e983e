import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jepa.core.errors import TrainingError
from jepa.core.training.runfolder import RunFolder

HOLD = """
import sys, time
from pathlib import Path
from jepa.core.training.runfolder import RunFolder
folder = RunFolder(Path(sys.argv[1]))
folder.lock()
"""


def holder(output: Path, then: str) -> tuple["subprocess.Popen[str]", str]:
    """A process that holds the lock, and the line that it prints afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD + then, str(output)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_second_process_is_refused_and_told_who_holds_the_folder(tmp_path: Path) -> None:
    process, _ = holder(tmp_path, "print('held', flush=True); time.sleep(60)")
    try:
        with pytest.raises(TrainingError, match=rf"process {process.pid} on .*--output"):
            RunFolder(tmp_path).lock()
    finally:
        process.kill()
        process.wait()
    folder = RunFolder(tmp_path)
    folder.lock()
    assert json.loads((tmp_path / ".lock").read_text())["pid"] == os.getpid()
    folder.unlock()


def test_a_forked_worker_does_not_hold_the_lock_on(tmp_path: Path) -> None:
    fork = """
import os
worker = os.fork()
if worker == 0:
    print(os.getpid(), flush=True)
time.sleep(60)
"""
    process, worker = holder(tmp_path, fork)
    try:
        with pytest.raises(TrainingError, match="trains into this folder"):
            RunFolder(tmp_path).lock()
        process.kill()
        process.wait()
        os.kill(int(worker), 0)  # the worker lives
        folder = RunFolder(tmp_path)
        folder.lock()
        folder.unlock()
    finally:
        process.kill()
        process.wait()
        os.kill(int(worker), signal.SIGKILL)


def test_the_lock_is_also_between_two_of_one_process(tmp_path: Path) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    first.lock()
    first.lock()
    with pytest.raises(TrainingError, match=f"process {os.getpid()} on"):
        second.lock()
    first.unlock()
    second.lock()
    second.unlock()


def test_an_unreadable_lock_file_still_locks(tmp_path: Path) -> None:
    first = RunFolder(tmp_path)
    first.lock()
    (tmp_path / ".lock").write_text("[]")
    with pytest.raises(TrainingError, match="another process trains into this folder"):
        RunFolder(tmp_path).lock()
    first.unlock()


def test_markers_replace_each_other(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "new" / "run")
    folder.clear_marks()
    folder.mark("interrupted", 12)
    (line,) = (folder.path / "INTERRUPTED").read_text().splitlines()
    assert json.loads(line)["step"] == 12
    folder.mark("completed", 30)
    assert [path.name for path in folder.path.iterdir()] == ["COMPLETED"]
    assert json.loads((folder.path / "COMPLETED").read_text())["step"] == 30
    folder.clear_marks()
    assert list(folder.path.iterdir()) == []
    assert folder.checkpoints == tmp_path / "new" / "run" / "checkpoints"


def test_an_output_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="file: cannot be the output folder"):
        RunFolder(tmp_path / "file")
