"""A stranger's objective that spoils the loss where the environment says so.

The settings stand in the environment and not in its Config, so that a run may go on with others.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from jepa.core import Loss, Objective

ENTRY_POINTS = {"jepa.objectives": {"faulty": "faulty_objective:Faulty"}}
USES_FAULTY = "model.objective={name: faulty}"


class Faulty(Objective):
    """The mean square, spoiled at some of its calls on one rank."""

    @attrs.frozen(kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.calls = 0

    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        pairs = zip(predictions, targets, strict=True)
        total = torch.stack([(p - t).square().mean() for p, t in pairs]).mean()
        call, self.calls = self.calls, self.calls + 1
        counting = total.device.type == "meta"
        if "FAULTY_READS" in os.environ:
            total = total * (1.0 if total.item() > 0 else 2.0)
        here = os.environ.get("RANK", "0") == os.environ.get("FAULTY_RANK", "0")
        wanted = os.environ.get("FAULTY_CALLS", "").split(",")
        if here and not counting and str(call) in wanted:
            total = SPOIL[os.environ["FAULTY_KIND"]](total, predictions[0])
        return Loss(total, {})


def nan(total: Tensor, prediction: Tensor) -> Tensor:
    return total * float("nan")


def inf_loss(total: Tensor, prediction: Tensor) -> Tensor:
    return total + float("inf")  # whose gradient is finite


def inf_gradient(total: Tensor, prediction: Tensor) -> Tensor:
    return total + (prediction * 0).abs().sqrt().sum()  # which is finite


def cuda_oom(total: Tensor, prediction: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def cpu_oom(total: Tensor, prediction: Tensor) -> Tensor:
    return total + torch.empty(2**58).sum()


def memory_error(total: Tensor, prediction: Tensor) -> Tensor:
    raise MemoryError


def broken(total: Tensor, prediction: Tensor) -> Tensor:
    raise RuntimeError("expected scalar type Float")


_KINDS = (nan, inf_loss, inf_gradient, cuda_oom, cpu_oom, memory_error, broken)
SPOIL = {kind.__name__: kind for kind in _KINDS}
