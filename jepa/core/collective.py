"""Statistics over the whole batch of all processes, for parts that need them."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def mean_over_processes(values: Tensor) -> Tensor:
    """The average of a tensor over all processes; the tensor itself where there is one.

    Carries no gradient from the other processes. Every process must call it.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return values
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()
