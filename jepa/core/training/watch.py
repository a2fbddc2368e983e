"""The observers of a run, fed on the first process."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import attrs
import numpy as np
import torch

from jepa.core.config import RunConfig
from jepa.core.data.loading import evaluation_batches
from jepa.core.data.source import Source
from jepa.core.errors import TrainingError
from jepa.core.interfaces import MaskSampler
from jepa.core.modality import Modality
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.core.training.observer import FixedBatch, Observer, Outcome, Record, RunView

_FIXED_SAMPLES = 64
_TRIED = 4096
"""Samples that are tried, beside the spread ones, before a batch is given up."""
_FIXED_STEP = 2**40
"""Beyond any run, so that the fixed masks are nobody's training masks."""


@attrs.frozen
class Fixed:
    """Makes the batch that stays the same for the whole run, when it is first asked for."""

    config: RunConfig
    source: Source
    modality: Modality
    samplers: Sequence[MaskSampler]
    device: torch.device

    def __call__(self) -> FixedBatch:
        """The batch on the device.

        Raises:
            DataError: none of its samples can be decoded.
        """
        return self._made

    @cached_property
    def _made(self) -> FixedBatch:
        wanted = min(_FIXED_SAMPLES, len(self.source), self.config.train.global_batch)
        # Spread, since sources often stand class by class; others step in for damaged ones.
        n = len(self.source)
        spread = np.arange(wanted) * n // wanted
        order = np.concatenate([spread, np.setdiff1d(np.arange(min(n, _TRIED)), spread)])
        singles = evaluation_batches(self.source, self.modality, 1, workers=0, indices=order)
        inputs = torch.cat([found.inputs for found in itertools.islice(singles, wanted)])
        views = tuple(
            sampler.sample(
                len(inputs),
                Rng(self.config.train.seed, _FIXED_STEP, len(inputs), 0, len(inputs), view),
            )
            for view, sampler in enumerate(self.samplers)
        )
        moved = tuple(Masks(*(part.to(self.device) for part in masks)) for masks in views)
        return FixedBatch(inputs.to(self.device), moved)


class Watch:
    """Builds the observers and passes on what happens.

    Args:
        run: what they may look at.
        utilisation_per_rate: model FLOP utilisation for each sample/s; None where unknown.
            `perf/mfu` is samples/s times this.
    """

    def __init__(self, run: RunView, utilisation_per_rate: float | None) -> None:
        self.run = run
        self.utilisation_per_rate = utilisation_per_rate
        self._observers: list[tuple[str, Observer]] = [
            (part.name, part.cls(part.config)) for part in run.config.observers
        ]

    def start(self) -> None:
        """The run begins or goes on."""
        for name, observer in self._observers:
            with _named(name):
                observer.start(self.run)

    def see(self, step: int, metrics: Mapping[str, float], notes: Sequence[str] = ()) -> None:
        """A step is done; `metrics` is empty between log lines, `notes` are lines for people."""
        told = dict(metrics)
        rate = told.get("perf/samples_per_s")
        if rate is not None and self.utilisation_per_rate is not None:
            told["perf/mfu"] = rate * self.utilisation_per_rate
        for name, observer in self._observers:
            with _named(name):
                told |= observer.measure(step)
        if told:
            record = Record(step, step / self.run.steps_per_epoch, told, tuple(notes))
            for name, observer in self._observers:
                with _named(name):
                    observer.record(record)

    def saved(self, step: int) -> None:
        """A checkpoint is about to be written."""
        for name, observer in self._observers:
            with _named(name):
                observer.saved(step)

    def finish(self, outcome: Outcome) -> None:
        """The run is over, or stops for now; every observer hears it.

        Raises:
            TrainingError: the first that an observer met.
        """
        faults = []
        for name, observer in self._observers:
            try:
                with _named(name):
                    observer.finish(outcome)
            except TrainingError as error:
                faults.append(error)
        if faults:
            raise faults[0]


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """What the system refuses (a full disk) ends the run with the observer's name."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"the observer '{name}' failed: {error}") from error
