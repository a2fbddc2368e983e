"""Gradients of losses over a batch, by one process or by two that share it, for `test_collective`.

As a program it forks, trains nothing, and prints what two processes of gloo under DDP found.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from jepa.core.collective import mean_over_processes, of_first_process
from jepa.plugins.objectives.regression import SmoothL1
from jepa.plugins.regularizers.sigreg import SigReg
from jepa.plugins.regularizers.vicreg import VicReg

BATCH, TOKENS, WIDTH = 8, 3, 5


def _uneven(features: Tensor) -> Tensor:
    """Each process has a loss of its own that the mean of all goes into."""
    mean = mean_over_processes(features.mean(dim=0))
    return (features * mean.exp()).sum() / len(features) + mean.square().sum()


def _vicreg(over: str) -> Callable[[Tensor], Tensor]:
    part = VicReg(VicReg.Config(over=over), dim=WIDTH)
    return lambda features: part([], [], [features, features.square()]).total


def _sigreg(over: str) -> Callable[[Tensor], Tensor]:
    part = SigReg(SigReg.Config(over=over, slices=20), dim=WIDTH)
    return lambda features: part([], [], [features, features.square()]).total


def _both_sides(features: Tensor) -> Tensor:
    """Targets by batch, with gradient through them, as of the target `shared`."""
    objective = SmoothL1(SmoothL1.Config(normalise="batch"))
    found: Tensor = objective([features[:, None]], [features[:, None].sin()], []).total
    return found


CASES: dict[str, Callable[[Tensor], Tensor]] = {
    "a loss a process": _uneven,
    "vicreg over samples": _vicreg("samples"),
    "vicreg over tokens": _vicreg("tokens"),
    "sigreg over samples": _sigreg("samples"),
    "sigreg over tokens": _sigreg("tokens"),
    "normalised by batch, both sides": _both_sides,
}


def network() -> nn.Module:
    drawn = np.random.default_rng(4)
    linear = nn.Linear(WIDTH, WIDTH).double()
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.from_numpy(drawn.normal(size=parameter.shape)))
    return linear


def batch() -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).normal(size=(BATCH, TOKENS, WIDTH)))


def gradients(model: nn.Module, inputs: Tensor, rank: int) -> dict[str, list[float]]:
    """Every parameter's gradient in each case, flat."""
    found = {}
    for name, loss in CASES.items():
        torch.manual_seed(7 + rank)  # processes draw differently, as in training
        model.zero_grad()
        loss(model(inputs).tanh()).backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        found[name] = torch.cat(grads).tolist()
    return found


def main(store: str) -> None:
    rank = 0 if (child := os.fork()) else 1
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    share = batch().chunk(2)[rank]
    found = gradients(DistributedDataParallel(network()), share, rank)
    first = of_first_process(torch.tensor([float(rank + 10)]))
    said = {"rank": rank, "gradients": found, "first": first.tolist()}
    if rank == 1:
        os.write(1, (json.dumps(said) + "\n").encode())
        dist.barrier()
        os._exit(0)
    dist.barrier()
    os.waitpid(child, 0)
    os.write(1, (json.dumps(said) + "\n").encode())
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
