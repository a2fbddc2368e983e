"""Memory that the process gives back."""

import sys
from pathlib import Path

import pytest
import torch

from jepa.core.training.host import return_large_blocks

MIB = 1 << 20


def held() -> int:
    """Bytes of this process that lie in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_go_when_they_are_freed():
    return_large_blocks()
    before = held()
    kept, freed = [], []
    for _ in range(16):
        freed.append(torch.ones(MIB))  # 4 MiB of float32
        kept.append(torch.ones(1000))  # lies between them, where they share a heap
    assert held() - before > 56 * MIB
    freed.clear()
    assert held() - before < 8 * MIB
