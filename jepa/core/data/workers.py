"""Batches in worker processes: the one module that knows torch's DataLoader."""

from __future__ import annotations

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sized
from typing import Generic, Protocol, TypeVar, final

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from jepa.core.data.order import Work
from jepa.core.errors import DataError, JepaError

Batch = TypeVar("Batch")

_MAX_AUTO_WORKERS = 8


class Batches(ABC, Generic[Batch]):
    """Makes a whole batch of one piece of work, in whichever process."""

    @abstractmethod
    def __getitem__(self, work: Work) -> Batch:
        """The batch."""


class Works(Sized, Iterable[Work], Protocol):
    """Pieces of work in their order."""


def run_workers(
    batches: Batches[Batch], works: Works, workers: int, prefetch: int = 2, pin_memory: bool = False
) -> Iterator[Batch]:
    """The batches of `works` in their order, made by `workers` processes ahead of their use.

    Args:
        batches: makes them.
        works: what to make.
        workers: processes; with 0 this process makes each batch when it is asked for.
        prefetch: batches that each worker holds ready.
        pin_memory: put tensors into page-locked memory.

    Closing the iterator, or dropping it, ends the workers.

    Raises:
        DataError: a worker died.
    """
    reporting: _Reporting[Batch] = _Reporting(batches)
    loader: DataLoader[Batch | JepaError] = DataLoader(
        reporting,
        batch_size=None,
        sampler=works,
        num_workers=workers,
        collate_fn=_as_it_is,
        pin_memory=pin_memory,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if workers and sys.platform == "linux" else None,
        prefetch_factor=prefetch if workers else None,
        # Without a generator of its own, the loader would draw from torch's global one.
        generator=torch.Generator(),
    )
    iterator = iter(loader)
    try:
        for batch in iterator:
            if isinstance(batch, JepaError):
                raise batch
            yield batch
    except (RuntimeError, ConnectionError, EOFError) as error:
        if workers and _is_death(error):
            raise DataError(
                f"a loader process died ({str(error).strip()}). It may have run out of memory, or "
                "out of shared memory (/dev/shm): lower data.workers or data.prefetch; "
                "data.workers=0 loads in the training process"
            ) from error
        raise
    finally:
        # The traceback of an error keeps the iterator, and so its workers, alive; they ignore
        # SIGTERM, and the interpreter would wait for them for good at its end.
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            iterator._shutdown_workers()


def _is_death(error: Exception) -> bool:
    """Whether a worker is gone, rather than handing back what it met (`Caught ... in worker`)."""
    text = str(error)
    if isinstance(error, RuntimeError):
        return text.startswith("DataLoader worker")
    return not text.startswith("Caught")  # the tensors of a batch were still to be fetched from it


@final
class _Reporting(Dataset[Batch | JepaError]):
    """Hands our own errors back as values: the loader would wrap them in its traceback."""

    def __init__(self, batches: Batches[Batch]) -> None:
        self._batches = batches

    def __getitem__(self, work: Work) -> Batch | JepaError:
        try:
            return self._batches[work]
        except JepaError as error:
            return error


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _start_worker(worker: int) -> None:
    """Leave signals to the training process: it saves first and then ends its workers.

    Ctrl-C and a scheduler's SIGTERM reach the whole process group.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def resolve_workers(setting: int | str, local_processes: int = 1) -> int:
    """Worker processes of each training process.

    Args:
        setting: `data.workers`: a number, or `auto` for a fair share of the cores, at most 8.
        local_processes: training processes on this machine.
    """
    if isinstance(setting, int):
        return setting
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(_MAX_AUTO_WORKERS, cores // local_processes))


class Stack:
    """Inputs [b, *S], filled row by row without a second copy."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._filled = 0
        self._inputs: Tensor | None = None

    def add(self, sample: Tensor) -> None:
        """Put one sample [*S] into the next row.

        Raises:
            JepaError: its shape or type is not that of the first.
        """
        if self._inputs is None:
            self._inputs = torch.empty((self._rows, *sample.shape), dtype=sample.dtype)
        row = self._inputs[self._filled]
        if sample.shape != row.shape or sample.dtype != row.dtype:
            raise JepaError(
                f"the modality gave inputs of different kinds in one batch: {list(row.shape)} "
                f"{row.dtype} and {list(sample.shape)} {sample.dtype}; all must be the same"
            )
        row.copy_(sample)
        self._filled += 1

    @property
    def inputs(self) -> Tensor | None:
        """The rows filled so far: [b, *S]; None where there is none."""
        return None if self._inputs is None else self._inputs[: self._filled]
