"""Which numbers the step computes in."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16"]

_ROWS = 2048
_WIDTH = {"amx_bf16": 128, "avx512_bf16": 192}
"""By what a CPU has: the least width that gains by bf16. A step of 2048 rows gained a fifth at
width 128 by AMX, and was 1.4 times as fast at 192; by AVX512-BF16 alone, 128 gained nothing."""


def resolve(
    wanted: Literal["fp32", "bf16", "auto"], device: torch.device, *, dim: int, rows: int
) -> Precision:
    """Decide what `auto` means, by hardware and size; never by timing, so that a resume agrees.

    Args:
        wanted: `train.precision`.
        device: of the model.
        dim: width D of the model.
        rows: tokens of one micro-batch, B * N.

    A GPU with bf16 units: bf16. A CPU: bf16 only where it has bf16 instructions (AVX512-BF16 or
    AMX; without them bf16 is emulated and slower) and the products are large enough to gain by
    them (measured: `_WIDTH`, and benchmarks/step.py).
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and rows >= _ROWS:
        least = [width for kind, width in _WIDTH.items() if cpu_capabilities().get(kind)]
        return "bf16" if least and dim >= min(least) else "fp32"
    return "fp32"


def cpu_capabilities() -> Mapping[str, Any]:
    """Which instructions this CPU has, by PyTorch's names."""
    return torch.cpu.get_capabilities()


def autocast(precision: Precision, device: torch.device) -> Any:
    """The context in which forward passes run: bf16 autocast without a scaler, or nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    # No cache of cast weights: nothing is cast twice in a pass, and what a pass without gradient
    # (the `online` target) has cast must not serve the next one.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
