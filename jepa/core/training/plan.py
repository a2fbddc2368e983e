"""How a step is shared out, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from jepa.core.config import RunConfig
from jepa.core.errors import ConfigError, Fault
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.core.training.schedules import Schedules


@attrs.frozen
class Plan:
    """The global batch, divided over processes and micro-steps.

    Process r holds the places r * local to (r + 1) * local - 1 of the global batch, in micro-steps
    of `micro` places.

    Args:
        config: of the run.
        rank: of this process.
        processes: that train together.
        samples: of the data set.

    Raises:
        ConfigError: the batch does not divide, a group of masks would be cut apart, or a
            regularizer would see a part of the batch.
    """

    config: RunConfig
    rank: int
    processes: int
    samples: int

    def __attrs_post_init__(self) -> None:
        batch, shares = self.global_batch, self.processes * self.config.train.accumulate
        if batch % shares:
            below = batch // shares * shares
            near = [str(n) for n in (below, below + shares) if n > 0]
            raise ConfigError(
                Fault(
                    "train.global_batch",
                    f"found {batch}, which {self.processes} processes x "
                    f"{self.config.train.accumulate} micro-steps do not divide; "
                    f"allowed: multiples of {shares}, such as {' or '.join(near)}",
                )
            )
        self._check_regularizers()

    def _check_regularizers(self) -> None:
        """Refuse micro-steps where a regularizer's statistics are of the batch as a whole."""
        found = self.config.train.accumulate
        if found == 1:
            return
        for place, part in enumerate(self.config.model.regularizers):
            if not part.cls.accumulates:
                raise ConfigError(
                    Fault(
                        "train.accumulate",
                        f"found {found}, allowed: 1 with model.regularizers.{place} "
                        f"({part.name}), whose statistics are of the whole batch at once; take "
                        "more processes or a smaller train.global_batch",
                    )
                )

    @property
    def global_batch(self) -> int:
        """Samples of a step."""
        return self.config.train.global_batch

    @property
    def local(self) -> int:
        """Samples of a step on each process."""
        return self.global_batch // self.processes

    @property
    def micro(self) -> int:
        """Samples of a micro-step."""
        return self.local // self.config.train.accumulate

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch: given, or as many whole batches as the data set holds."""
        return self.config.train.steps_per_epoch or max(1, self.samples // self.global_batch)

    @property
    def schedules(self) -> Schedules:
        """Learning rate and the like, as functions of the step."""
        return Schedules(self.config.optim, self.config.train, self.steps_per_epoch)

    def check_groups(self, samplers: Sequence[MaskSampler]) -> None:
        """Refuse micro-steps that cut a group of masks apart: K would depend on who shares."""
        for view, sampler in enumerate(samplers):
            group = sampler.trim_group
            if group is None or group >= self.global_batch or group % self.micro == 0:
                continue
            divisors = [n for n in range(1, self.local + 1) if self.local % n == 0]
            fits = [n for n in divisors if group % (self.local // n) == 0]
            raise ConfigError(
                Fault(
                    f"masks.{view}.trim_group",
                    f"found {group}, allowed: a multiple of the {self.micro} samples of a "
                    f"micro-step; set train.accumulate={fits[0]} (micro-steps of "
                    f"{self.local // fits[0]}), or another trim_group",
                )
            )

    def masks(
        self, samplers: Sequence[MaskSampler], step: int, micro_step: int
    ) -> tuple[Masks, ...]:
        """The views of one micro-step: a function of (seed, step, place)."""
        start = self.rank * self.local + micro_step * self.micro
        seed, batch = self.config.train.seed, self.global_batch
        progress = self.schedules.progress(step)
        return tuple(
            sampler.sample(self.micro, Rng(seed, step, self.micro, start, batch, view, progress))
            for view, sampler in enumerate(samplers)
        )
