"""What runs that go at the same time share: the cores, and the GPUs."""

from __future__ import annotations

import os
import sys

import torch

from jepa.core.training import launch


def environments(parallel: int, processes: int) -> list[dict[str, str]]:
    """The environment of the commands in each of `parallel` slots.

    A slot has its own GPUs, one a process; where there are too few, slots share them in turn.
    Cores are shared alike, unless OMP_NUM_THREADS says otherwise.

    Args:
        parallel: runs at a time.
        processes: of each run.
    """
    common = {**os.environ, **launch.mortal()}
    if parallel == 1:
        return [common]
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    threads = str(max(1, cores // (parallel * processes)))
    return [
        {"OMP_NUM_THREADS": threads, **common, **_visible(_devices(), slot, processes)}
        for slot in range(parallel)
    ]


def _devices() -> list[str]:
    """The GPUs at hand, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(place) for place in range(torch.cuda.device_count())]
    return [name.strip() for name in named.split(",") if name.strip()]


def _visible(devices: list[str], slot: int, processes: int) -> dict[str, str]:
    """CUDA_VISIBLE_DEVICES of a slot; empty where there is no GPU."""
    if not devices:
        return {}
    first = slot * processes
    places = [(first + place) % len(devices) for place in range(min(processes, len(devices)))]
    return {"CUDA_VISIBLE_DEVICES": ",".join(devices[place] for place in places)}
