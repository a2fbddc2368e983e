"""Memory that the process gives back."""

import subprocess
import sys

import pytest

_LARGE_BLOCKS = """
from pathlib import Path
import torch
from jepa.core.training.host import return_large_blocks

MIB = 1 << 20

def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

return_large_blocks()
before = held()
kept, freed = [], []
for _ in range(16):
    freed.append(torch.ones(MIB))  # 4 MiB of float32
    kept.append(torch.ones(1000))  # lies between them, where they share a heap
assert held() - before > 56 * MIB
freed.clear()
assert held() - before < 8 * MIB
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_go_when_they_are_freed():
    """In a process of its own: this one may hold free memory that new blocks would take."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE_BLOCKS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
