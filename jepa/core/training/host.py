"""Settings of this process that make training faster or exact."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Any

import torch

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGE = 1 << 30


def tune_host(device: torch.device, deterministic: bool) -> None:
    """Ready this process for training.

    On the CPU, glibc by default gives every large tensor back to the kernel when it is freed, and
    the next one pays for fresh pages; it is told to keep them. On CUDA, float32 products use
    TF32, and `deterministic` allows only deterministic kernels.
    """
    if device.type == "cpu":
        _keep_freed_memory()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    if deterministic:
        # cuBLAS reads this when it is first used.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def return_large_blocks() -> None:
    """Give every block of 1 MiB or more back to the kernel when it is freed.

    For work that must not hold more the longer it runs: in a heap that keeps freed blocks, gaps
    come up that fit nothing, and it grows by and by. The price is fresh pages for every such block.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _keep_freed_memory() -> None:
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
        mallopt(_M_TRIM_THRESHOLD, _LARGE)


def _glibc(name: str) -> Any:
    """A function of glibc; None where the C library is another one."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
