"""Statistics over the whole batch of all processes, for parts that need them."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

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


def mean_over_processes(values: Tensor) -> Tensor:
    """The average of a tensor over all processes; the tensor itself where there is one.

    Carries no gradient from the other processes. Every process must call it, but inside `alone`.
    """
    if _ALONE.get() or not (dist.is_available() and dist.is_initialized()):
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
