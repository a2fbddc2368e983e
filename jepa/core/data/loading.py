"""Raw samples to batches of inputs."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, final

import attrs
import numpy as np
import torch
from torch import Tensor

from jepa.core.data.bad_samples import BadSample
from jepa.core.data.order import Order, Work
from jepa.core.data.source import Source
from jepa.core.data.workers import Batches, Stack, run_workers
from jepa.core.errors import DataError, DecodeError
from jepa.core.modality import Modality
from jepa.core.rng import SampleRng, Stream

_TRIES = 20
"""Undecodable samples in a row, for one place of a batch, after which the run stops."""


class Loaded(NamedTuple):
    """What one process loads for one step.

    Attributes:
        step: counted from 0.
        inputs: [b, *S], this process's places of the global batch.
        bad: what could not be decoded; each had its place taken.
    """

    step: int
    inputs: Tensor
    bad: tuple[BadSample, ...]


@attrs.frozen
class LeftOut:
    """A sample that evaluation did without, and why."""

    index: int
    name: str
    reason: str


class Evaluated(NamedTuple):
    """A batch for evaluation.

    Attributes:
        inputs: [b, *S], b >= 1.
        labels: [b] int64, or None.
        indices: [b] int64 in the source.
        bad: samples that could not be decoded, since the batch before.
    """

    inputs: Tensor
    labels: Tensor | None
    indices: Tensor
    bad: tuple[LeftOut, ...]


class Attempt(NamedTuple):
    """What one piece of evaluation work gave: a batch that may be empty.

    Attributes:
        inputs: [b, *S]; None where no sample could be decoded.
        labels: [b] int64, or None.
        indices: [b] int64 in the source.
        names: of the samples, b of them.
        bad: samples that could not be decoded.
    """

    inputs: Tensor | None
    labels: Tensor | None
    indices: Tensor
    names: tuple[str, ...]
    bad: tuple[LeftOut, ...]


def load(
    source: Source,
    modality: Modality,
    *,
    seed: int,
    global_batch: int,
    start: int,
    count: int,
    first_step: int,
    last_step: int,
    workers: int,
    prefetch: int,
    pin_memory: bool,
) -> Generator[Loaded, None, None]:
    """Load places `start` to `start + count - 1` of the global batch, step by step.

    What a step holds is a function of (seed, step, place): neither the number of workers nor that
    of processes matters. A sample that cannot be decoded is replaced by another, drawn as a
    function of (seed, pass, index). Closing the iterator ends its workers.

    Args:
        source: of raw samples.
        modality: decodes and transforms them.
        seed: of the run.
        global_batch: samples of a step, over all processes.
        start: first place of this process.
        count: places of this process.
        first_step: counted from 0.
        last_step: the first step that is not loaded.
        workers: processes that decode; 0: this one does.
        prefetch: batches that each worker holds ready.
        pin_memory: put inputs into page-locked memory, for copies to a CUDA device.

    Raises:
        DataError: fewer samples than a step takes, or 20 undecodable ones in a row.
    """
    works = _Steps(Order(seed, len(source), global_batch), start, count, first_step, last_step)
    batches = _TrainBatches(source, modality, seed)
    for loaded in run_workers(batches, works, workers, prefetch, pin_memory):
        # Pinning makes lists of plain tuples.
        yield loaded._replace(bad=tuple(loaded.bad))


def evaluation_batches(
    source: Source,
    modality: Modality,
    batch_size: int,
    workers: int,
    indices: Sequence[int] | np.ndarray | None = None,
) -> Iterator[Evaluated]:
    """Samples in the order of `indices` (default: all), under the evaluation transform.

    Samples that cannot be decoded are left out and named in `bad`; a batch may be shorter for it.

    Raises:
        DataError: not one sample could be decoded.
    """
    chosen = np.arange(len(source)) if indices is None else np.asarray(indices, dtype=np.int64)
    # One batch is held back, so that what is left out behind the last one is named too.
    held: Evaluated | None = None
    bad: tuple[LeftOut, ...] = ()
    for found in attempts(source, modality, batch_size, workers, chosen):
        bad += found.bad
        if found.inputs is None:
            continue
        if held is not None:
            yield held
        held = Evaluated(found.inputs, found.labels, found.indices, bad)
        bad = ()
    if held is None:
        reason = f"; the last, {bad[-1].name}: {bad[-1].reason}" if bad else ""
        raise DataError(f"none of {len(chosen)} samples can be decoded{reason}")
    yield held._replace(bad=held.bad + bad)


def attempts(
    source: Source, modality: Modality, batch_size: int, workers: int, indices: np.ndarray
) -> Iterator[Attempt]:
    """As `evaluation_batches`, but exactly one result for each `batch_size` indices [n] int64.

    So the n-th result is about the same indices, whatever can be decoded.
    """
    works = [
        Work(number, 0, indices[first : first + batch_size])
        for number, first in enumerate(range(0, len(indices), batch_size))
    ]
    yield from run_workers(_EvaluationBatches(source, modality), works, workers)


@final
@attrs.frozen
class _Steps:
    """The work of one process, from its first step to its last."""

    order: Order
    start: int
    count: int
    first_step: int
    last_step: int

    def __len__(self) -> int:
        return max(0, self.last_step - self.first_step)

    def __iter__(self) -> Iterator[Work]:
        for step in range(self.first_step, self.last_step):
            yield self.order.work(step, self.start, self.count)


@final
class _TrainBatches(Batches[Loaded]):
    """Batches under the training transform; every place is filled."""

    def __init__(self, source: Source, modality: Modality, seed: int) -> None:
        self._source, self._modality, self._seed = source, modality, seed

    def __getitem__(self, work: Work) -> Loaded:
        stack = Stack(len(work.indices))
        bad: list[BadSample] = []
        for index in map(int, work.indices):
            stack.add(self._sample(index, work.epoch, bad))
        assert stack.inputs is not None
        return Loaded(work.step, stack.inputs, tuple(bad))

    def _sample(self, index: int, epoch: int, bad: list[BadSample]) -> Tensor:
        """The sample at `index`, or the first decodable of its stand-ins: [*S]."""
        failed: list[LeftOut] = []
        stand_ins = SampleRng(self._seed, epoch, index, Stream.REPLACE).integers(len(self._source))
        for candidate in (index, *islice(stand_ins, _TRIES - 1)):
            try:
                content = self._source.item(candidate).content
                rng = SampleRng(self._seed, epoch, candidate)
                sample = self._modality.train_input(content, rng)
            except (DecodeError, OSError) as error:
                failed.append(_left_out(self._source, candidate, error))
                continue
            bad += [BadSample(f.index, f.name, f.reason, candidate) for f in failed]
            return sample
        reasons = "".join(f"\n  {left.name}: {left.reason}" for left in failed[:3])
        raise DataError(
            f"{_TRIES} samples in a row cannot be decoded; is this the right data.root and "
            f"modality? The first:{reasons}"
        )


@final
class _EvaluationBatches(Batches[Attempt]):
    """Batches under the evaluation transform; bad samples are left out."""

    def __init__(self, source: Source, modality: Modality) -> None:
        self._source, self._modality = source, modality

    def __getitem__(self, work: Work) -> Attempt:
        stack = Stack(len(work.indices))
        kept: list[int] = []
        names: list[str] = []
        labels: list[int] = []
        bad: list[LeftOut] = []
        for index in map(int, work.indices):
            try:
                item = self._source.item(index)
                stack.add(self._modality.eval_input(item.content))
            except (DecodeError, OSError) as error:
                bad.append(_left_out(self._source, index, error))
                continue
            kept.append(index)
            names.append(item.name)
            labels += [] if item.label is None else [item.label]
        found = torch.tensor(labels, dtype=torch.int64) if len(labels) == len(kept) else None
        indices = torch.tensor(kept, dtype=torch.int64)
        return Attempt(stack.inputs, found, indices, tuple(names), tuple(bad))


def _left_out(source: Source, index: int, error: Exception) -> LeftOut:
    try:
        name = source.item(index).name
    except (DecodeError, OSError):
        name = f"sample {index}"
    return LeftOut(index, name, f"{type(error).__name__}: {error}")
