"""What only another process can show: kill -9, a file size limit, peak memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jepa.core.training.checkpoint import checkpoints, newest_valid, verify

pytestmark = pytest.mark.slow

SETUP = """
import os, resource, signal, sys, time
from pathlib import Path
import numpy as np
import torch
from jepa.core.errors import CheckpointError
from jepa.core.training.checkpoint import checkpoints, prune, save, verify

folder = Path(sys.argv[1])

def write(step, count, size):
    tensors = {f"w{i}": torch.full((size,), float(step)) for i in range(count)}
    return save(folder, step, tensors={"model": tensors, "optimizer": tensors},
                documents={"config.yaml": "a: 1"})
"""


def python(code: str, folder: Path) -> str:
    # With a fixed threshold malloc gives big blocks back at once, so the peak is what was alive.
    done = subprocess.run(
        [sys.executable, "-c", SETUP + code, str(folder)],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


KILL = """
draw = np.random.default_rng(0)
caught = 0
for trial in range(15):
    before = {c.step for c in checkpoints(folder)}
    child = os.fork()
    if child == 0:
        step = max(before, default=0)
        while True:
            step += 1
            prune(folder, 2, None, trusted=write(step, 20, 100_000))
    while {c.step for c in checkpoints(folder)} == before:
        time.sleep(0.001)
    time.sleep(draw.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    found = checkpoints(folder)
    assert found[-1].step > max(before, default=0)
    for checkpoint in found:
        assert not verify(checkpoint.path), (trial, checkpoint, verify(checkpoint.path))
    caught += len(list(folder.glob(".tmp-*"))) > 0
print(caught)
"""


def test_kill_in_the_middle_of_saves_leaves_every_named_checkpoint_valid(tmp_path: Path) -> None:
    caught = int(python(KILL, tmp_path))
    assert caught >= 5, "too few of the 15 kills came in the middle of a save to show anything"
    found, reports = newest_valid(tmp_path)
    assert found == checkpoints(tmp_path)[-1]
    assert reports == []


LIMIT = """
write(1, 2, 100)
for limit in (0, 1, 100, 5_000, 100_000, 300_000, 400_000):
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            write(2, 10, 10_000)
        except CheckpointError as error:
            os._exit(0 if "File too large" in str(error) else 2)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    print(limit, os.waitstatus_to_exitcode(status), [path.name for path in folder.iterdir()])
"""


def test_a_file_size_limit_loses_no_earlier_checkpoint(tmp_path: Path) -> None:
    lines = python(LIMIT, tmp_path).splitlines()
    assert len(lines) == 7
    for line in lines:
        _, code, left = line.split(maxsplit=2)
        assert code == "0", line
        assert left == "['step_00000001']"
    assert verify(tmp_path / "step_00000001") == []


MEMORY = """
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

side = 1600
small = torch.ones(side, 2).t()
save(folder, 1, tensors={"model": {"w": small}}, documents={"config.yaml": "a: 1"})
tensors = {f"w{i}": torch.full((side, side), float(i)).t() for i in range(40)}
before = peak()
save(folder, 2, tensors={"model": tensors}, documents={"config.yaml": "a: 1"})
print(sum(t.nbytes for t in tensors.values()), side * side * 4, peak() - before)
"""


def test_saving_copies_one_tensor_at_a_time(tmp_path: Path) -> None:
    model, tensor, growth = map(int, python(MEMORY, tmp_path).split())
    assert model > 400e6
    assert growth < 2 * tensor, f"{growth / 1e6:.1f} MB for tensors of {tensor / 1e6:.1f} MB"
    assert verify(tmp_path / "step_00000002") == []
