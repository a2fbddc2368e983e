"""Randomness as a function of (seed, step or epoch, place of the sample in the global batch).

No generator state is kept anywhere, so there is none to save and nothing to replay: numpy's
counter-based Philox jumps to any place. A resumed run draws what an uninterrupted run draws, and
so does a run on another number of processes.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs
import numpy as np
import torch
from numpy.random import Generator, Philox
from torch import Tensor

_WORD = 4  # one step of Philox's counter gives four 64-bit words


class Stream(enum.IntEnum):
    """What a draw is for. Streams never share a number."""

    MASKS = 1
    ORDER = 2
    TRANSFORM = 3
    REPLACE = 4
    DEVICE = 5
    EVALUATION = 6
    SAMPLES = 7


def _generator(seed: int, counter: tuple[int, int, int, int], stream: Stream) -> Generator:
    """A generator at one place of the space that `seed` and `stream` span."""
    key = np.array([seed & (2**64 - 1), int(stream)], dtype=np.uint64)
    return Generator(Philox(key=key, counter=np.array(counter, dtype=np.uint64)))


@attrs.define
class Rng:
    """Uniform numbers in [0, 1) for `batch_size` samples of one step, starting at place `start`.

    Each call takes the next draw, so the same calls in the same order give the same numbers.

    Args:
        seed: of the run.
        step: optimizer step, from 0.
        batch_size: samples of this window.
        start: place of its first sample in the global batch.
        global_batch: samples of the whole step.
        view: which view of the step; views draw apart.
        progress: share of the schedule done, 0 to 1, for what changes over training; no number
            depends on it.
    """

    seed: int
    step: int
    batch_size: int
    start: int = 0
    global_batch: int | None = None
    view: int = 0
    progress: float = 0.0
    _draw: int = attrs.field(default=0, init=False)

    def _next(self, row: int, blocks: int) -> Generator:
        # Words of the counter, lowest first: place, draw, step, view. Shared draws have word 3 odd.
        self._draw += 1
        shared = row < 0
        place = 0 if shared else row * blocks
        counter = (place, self._draw, self.step, 2 * self.view + int(shared))
        return _generator(self.seed, counter, Stream.MASKS)

    def shared(self, n: int) -> Tensor:
        """Uniforms [n] float64, equal on all processes."""
        return torch.from_numpy(self._next(-1, 1).random(n))

    def rows(self, n: int) -> Tensor:
        """Uniforms [B, n] float64; a row depends on its place in the global batch alone."""
        blocks = -(-n // _WORD)
        drawn = self._next(self.start, blocks).random((self.batch_size, blocks * _WORD))
        return torch.from_numpy(drawn[:, :n])

    def window(self, group: int) -> tuple[Rng, slice]:
        """The group of consecutive places that holds this window.

        Args:
            group: places in a group; groups start at multiples of it and end with the batch.

        Returns:
            An Rng over all places of the group at the same draw, and this window's slice of it.

        Raises:
            ValueError: the window crosses the border of a group.
        """
        total = self.global_batch or self.start + self.batch_size
        first = self.start // group * group
        last = min(first + group, total)
        if self.start + self.batch_size > last:
            raise ValueError(
                f"places {self.start} to {self.start + self.batch_size - 1} cross a border of the "
                f"groups of {group}: a micro-batch must divide the group"
            )
        wide = Rng(self.seed, self.step, last - first, first, total, self.view, self.progress)
        wide._draw = self._draw
        return wide, slice(self.start - first, self.start - first + self.batch_size)


@attrs.define
class SampleRng:
    """Uniforms for one sample: a function of (seed, epoch, index), whoever reads it."""

    seed: int
    epoch: int
    index: int
    stream: Stream = Stream.TRANSFORM
    _generator: Generator | None = attrs.field(default=None, init=False)

    def uniforms(self, n: int) -> np.ndarray:
        """The next n uniforms in [0, 1): [n] float64."""
        if self._generator is None:
            counter = (0, 0, self.index, self.epoch)
            self._generator = _generator(self.seed, counter, self.stream)
        return self._generator.random(n)

    def integers(self, high: int) -> Iterator[int]:
        """Integers in [0, high), without end."""
        while True:
            yield int(self.uniforms(1)[0] * high)


def permutation(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order of n samples in an epoch: [n] int64, a function of (seed, epoch)."""
    return _generator(seed, (0, 0, epoch, 0), Stream.ORDER).permutation(n)


def device_seed(seed: int, step: int, micro: int, rank: int) -> int:
    """A 63-bit seed for torch's default generators before one forward pass (drop path)."""
    drawn = _generator(seed, (0, micro, step, rank), Stream.DEVICE).integers(2**63)
    return int(drawn)
