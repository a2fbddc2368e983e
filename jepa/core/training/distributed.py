"""Processes that train together: who am I, collectives that all need, an exit that is clean."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Sequence
from typing import Any, Literal, NoReturn, TypeVar

import attrs
import torch
import torch.distributed as dist
from torch import Tensor

from jepa.core.errors import ConfigError, JepaError

T = TypeVar("T")

_TIMEOUT = datetime.timedelta(minutes=30)
"""Of a collective: as long as one process may write a checkpoint while the others wait."""


@attrs.frozen
class World:
    """This process among those that train together.

    Args:
        rank: of this process, 0 to size - 1.
        size: number of processes.
        device: that this process computes on.
        control: a gloo group for decisions, so that none of them waits for a GPU; None alone.
        local_size: number of processes on this machine.
    """

    rank: int
    size: int
    device: torch.device
    control: Any = None
    local_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over processes; no device has a part in them."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self.control)
        return total.tolist()

    def mean_(self, values: Tensor) -> Tensor:
        """Average device values over processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank. Plain values only."""
        gathered = [value]
        if self.size > 1:
            gathered = gathered * self.size
            dist.all_gather_object(gathered, value, group=self.control)
        return gathered

    def from_first(self, value: Any) -> Any:
        """What the first process holds. Plain values only."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0, group=self.control)
        return held[0]

    def agree(self, fault: str | None) -> None:
        """Raise on every process if any of them has a fault.

        Raises:
            JepaError: with each process's fault.
        """
        faults: list[str | None] = [fault]
        if self.size > 1:
            faults = [None] * self.size
            dist.all_gather_object(faults, fault, group=self.control)
        told = [text for text in faults if text is not None]
        if told:
            raise JepaError(told[0])


def start(device: Literal["auto", "cpu", "cuda"]) -> World:
    """Join the processes that torchrun or `--nproc` started, or be alone.

    Raises:
        ConfigError: CUDA is wanted and absent, or has fewer devices than processes.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    on = _device(device, local)
    if size == 1:
        return World(0, 1, on)
    if on.type == "cuda":
        torch.cuda.set_device(on)
    backend = "nccl" if on.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT, device_id=on if on.type == "cuda" else None)
    control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
    return World(rank, size, on, control, int(os.environ.get("LOCAL_WORLD_SIZE", size)))


def _device(wanted: Literal["auto", "cpu", "cuda"], local: int) -> torch.device:
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "cuda" and found == 0:
        raise ConfigError("train.device: found cuda, but PyTorch sees no CUDA device; allowed: cpu")
    if wanted == "cpu" or found == 0:
        return torch.device("cpu")
    if local >= found:
        raise ConfigError(
            f"train.device: process {local} of this machine has no GPU of its own, {found} found; "
            f"start at most {found}, or set train.device=cpu"
        )
    return torch.device("cuda", local)


def leave(world: World, code: int) -> None:
    """Part from the other processes; on more than one, end this one.

    gloo may abort at interpreter exit after success, so the process ends by `os._exit` once
    everything is written.
    """
    if world.size == 1:
        return
    if code == 0:
        dist.barrier(group=world.control)
        dist.destroy_process_group()
    _exit(code)


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
