"""Which rows a regularizer's statistics are over, and in what precision."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Literal

import torch
from einops import rearrange, reduce
from torch import Tensor

Of = Literal["context", "predictions"]
Over = Literal["tokens", "samples"]


def rows_of(
    predictions: Sequence[Tensor], context: Sequence[Tensor], of: Of, over: Over
) -> list[Tensor]:
    """The rows [n, d] of each view, float32 or finer.

    Args:
        predictions: [B, M, T, D_target] of each view.
        context: [B, K, D] of each view.
        of: which of the two.
        over: `tokens`: each token is a row. `samples`: the mean token of each sample is one.
    """
    chosen = context if of == "context" else predictions
    pattern = "B ... d -> (B ...) d" if over == "tokens" else "B ... d -> B d"
    return [
        rearrange(view, pattern) if over == "tokens" else reduce(view, pattern, "mean")
        for view in (x.to(torch.promote_types(x.dtype, torch.float32)) for x in chosen)
    ]


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Inside, products are not rounded to bf16, whatever the step's precision."""
    if device.type == "meta":  # which knows no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
