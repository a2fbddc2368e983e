"""Which numbers the step computes in."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import torch

Precision = Literal["fp32", "bf16"]

_CPU_BF16_WIDTH = 192
_CPU_BF16_ROWS = 2048


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
    them (benchmarks/step.py; models of width 128 at batch 32 gain a fifth by AMX, and nothing
    by AVX512-BF16).
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if device.type == "cpu" and cpu_has_bf16():
        large = dim >= _CPU_BF16_WIDTH and rows >= _CPU_BF16_ROWS
        return "bf16" if large else "fp32"
    return "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU computes bf16 products itself (AVX512-BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def autocast(precision: Precision, device: torch.device) -> Any:
    """The context in which forward passes run: bf16 autocast without a scaler, or nothing."""
    if precision == "fp32":
        return contextlib.nullcontext()
    # No cache of cast weights: nothing is cast twice in a pass, and what a pass without gradient
    # (the `online` target) has cast must not serve the next one.
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)
