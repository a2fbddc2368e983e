"""Samples that could not be decoded, on whichever process: listed by the first, judged for all."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from jepa.core.data.bad_samples import BadSample, BadSamples
from jepa.core.errors import DataError
from jepa.core.training.distributed import World
from jepa.core.training.plan import Plan

BAD_SAMPLES = "bad_samples.jsonl"


class Damage:
    """The list of a run's damaged samples.

    Args:
        folder: of the run.
        plan: knows how many samples there are, and how many of them may be damaged.
        world: this process among the others.
    """

    def __init__(self, folder: Path, plan: Plan, world: World) -> None:
        self._list = BadSamples(folder / BAD_SAMPLES)
        self._plan, self._world = plan, world

    @property
    def count(self) -> int:
        """How many are listed."""
        return self._list.count

    def add(self, step: int, bad: Sequence[BadSample]) -> None:
        """List what could not be decoded anywhere; every process calls this at the same step.

        Args:
            step: counted from 0.
            bad: samples of this process.

        Raises:
            DataError: there are too many, or the list cannot be written.
        """
        found = self._world.gather(tuple(bad))
        fault = None
        if self._world.is_first:
            try:
                self._list.add(step, itertools.chain.from_iterable(found))
                fault = self._list.excess(
                    seen=(step + 1) * self._plan.global_batch,
                    total=self._plan.samples,
                    max_fraction=self._plan.config.data.max_bad_fraction,
                )
            except DataError as error:
                fault = str(error)
        fault = self._world.from_first(fault)
        if fault is not None:
            raise DataError(fault)
