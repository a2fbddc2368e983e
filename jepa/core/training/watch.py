"""The observers of a run, fed on the first process."""

from __future__ import annotations

import contextlib
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
        batches = evaluation_batches(
            self.source, self.modality, batch_size=wanted, workers=0, indices=order
        )
        found = next(batches)
        inputs = found.inputs
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
        self.observers: list[Observer] = [p.cls(p.config) for p in run.config.observers]

    def start(self) -> None:
        """The run begins or goes on."""
        for observer in self.observers:
            with _named(observer):
                observer.start(self.run)

    def see(self, step: int, metrics: Mapping[str, float], notes: Sequence[str] = ()) -> None:
        """A step is done; `metrics` is empty between log lines, `notes` are lines for people."""
        told = dict(metrics)
        rate = told.get("perf/samples_per_s")
        if rate is not None and self.utilisation_per_rate is not None:
            told["perf/mfu"] = rate * self.utilisation_per_rate
        for observer in self.observers:
            with _named(observer):
                told |= observer.measure(step)
        if told:
            record = Record(step, step / self.run.steps_per_epoch, told, tuple(notes))
            for observer in self.observers:
                with _named(observer):
                    observer.record(record)

    def saved(self, step: int) -> None:
        """A checkpoint is about to be written."""
        for observer in self.observers:
            with _named(observer):
                observer.saved(step)

    def finish(self, outcome: Outcome) -> None:
        """The run is over, or stops for now; every observer hears it.

        Raises:
            TrainingError: the first that an observer met.
        """
        with contextlib.ExitStack() as stack:
            for observer in reversed(self.observers):
                stack.enter_context(_named(observer))
                stack.callback(observer.finish, outcome)


@contextlib.contextmanager
def _named(observer: Observer) -> Iterator[None]:
    """A disk that refuses ends the run with the observer's name."""
    try:
        yield
    except OSError as error:
        name = type(observer).__name__.lower()
        raise TrainingError(f"the observer {name} cannot write: {error}") from error
