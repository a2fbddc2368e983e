"""The order of samples: a function of (seed, step), endless."""

from __future__ import annotations

from typing import NamedTuple

import attrs
import numpy as np

from jepa.core import rng
from jepa.core.errors import DataError


class Work(NamedTuple):
    """The samples of one step that one process loads: `indices` [count] int64 of pass `epoch`."""

    step: int
    epoch: int
    indices: np.ndarray


@attrs.define
class Order:
    """Cuts an endless row of passes over n samples into steps of B samples.

    Each pass is a permutation of its own and loses its last n % B samples, so that a step never
    crosses the border of two passes. Step k holds the places k*B to k*B + B - 1.

    Args:
        seed: of the run.
        samples: n.
        global_batch: B.

    Raises:
        DataError: n < B.
    """

    seed: int
    samples: int
    global_batch: int
    _pass: tuple[int, np.ndarray] | None = attrs.field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.samples < self.global_batch:
            raise DataError(
                f"the data set holds {self.samples} samples, fewer than one step takes: lower "
                f"train.global_batch from {self.global_batch} to {self.samples} or less"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one pass: n // B."""
        return self.samples // self.global_batch

    def work(self, step: int, start: int, count: int) -> Work:
        """What stands at places `start` to `start + count - 1` of the global batch of a step."""
        epoch, within = divmod(step, self.steps_per_epoch)
        if self._pass is None or self._pass[0] != epoch:
            self._pass = epoch, rng.permutation(self.seed, epoch, self.samples)
        first = within * self.global_batch + start
        return Work(step, epoch, self._pass[1][first : first + count])
