"""Statistics over the whole batch of all processes, for parts that need them."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_ALONE = contextvars.ContextVar("alone", default=False)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Inside, this process asks no other: for what one process looks at by itself."""
    token = _ALONE.set(True)
    try:
        yield
    finally:
        _ALONE.reset(token)


def processes() -> int:
    """How many processes have a share in the batch; 1 inside `alone`."""
    together = not _ALONE.get() and dist.is_available() and dist.is_initialized()
    return dist.get_world_size() if together else 1


def mean_over_processes(values: Tensor) -> Tensor:
    """The average of a tensor over all processes; the tensor itself where there is one.

    It carries gradient, from the losses of all processes to the values of all. Where each averages
    its loss over an equal share of the batch and DDP averages gradients, parameters get the
    gradient that one process with the whole batch gives them. Every process must call it, and go
    backward through it, in the same order; but not inside `alone`.
    """
    if processes() == 1:
        return values
    averaged: Tensor = _Mean.apply(values)  # type: ignore[no-untyped-call]
    return averaged


def of_first_process(values: Tensor) -> Tensor:
    """What the first process holds, on all of them; the tensor itself where there is one.

    Carries no gradient. Every process must call it, but inside `alone`.
    """
    if processes() == 1:
        return values
    held = values.detach().clone()
    dist.broadcast(held, src=0)
    return held


class _Mean(torch.autograd.Function):
    """The average of values, and on the way back the average of gradients.

    The loss that counts is L = 1/P sum_r L_r(m) with m = 1/P sum_s m_s. So dL/dm_s is
    1/P (1/P sum_r dL_r/dm), and DDP brings the outer 1/P.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _averaged(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _averaged(gradient)


def _averaged(values: Tensor) -> Tensor:
    total = values.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total / dist.get_world_size()
