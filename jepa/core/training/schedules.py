"""Learning rate, weight decay and progress as functions of the step (recipe: I-JEPA's code)."""

from __future__ import annotations

import math

import attrs

from jepa.core.config import OptimConfig, TrainConfig
from jepa.core.errors import ConfigError, Fault


@attrs.frozen
class Schedules:
    """Schedules over n steps an epoch. t counts optimizer steps from 1.

    W = int(warmup_epochs * n) steps of warm-up, TT = int(schedule_scale * epochs * n) in all;
    where `train.epochs` is null, `train.max_steps` stands for epochs * n.

    Raises:
        ConfigError: the warm-up is as long as the schedule.
    """

    optim: OptimConfig
    train: TrainConfig
    steps_per_epoch: int

    def __attrs_post_init__(self) -> None:
        if self.warmup >= self.length:
            raise ConfigError(
                Fault(
                    "optim.warmup_epochs",
                    f"found {self.optim.warmup_epochs:g} epochs, {self.warmup} steps, allowed: "
                    f"less than the schedule's {self.length} steps",
                )
            )

    @property
    def warmup(self) -> int:
        """W, steps of warm-up."""
        return int(self.optim.warmup_epochs * self.steps_per_epoch)

    @property
    def length(self) -> int:
        """TT, steps after which the schedules have reached their final values."""
        return max(1, int(self.train.schedule_scale * self._trained_steps))

    @property
    def total_steps(self) -> int:
        """Steps after which training ends."""
        whole = max(1, int(self._trained_steps))
        return min(whole, self.train.max_steps or whole)

    @property
    def _trained_steps(self) -> float:
        if self.train.epochs is not None:
            return self.train.epochs * self.steps_per_epoch
        return float(self.train.max_steps or 0)

    @property
    def lr_factor(self) -> float:
        """What the learning rates are multiplied by at this global batch (`lr_scaling`)."""
        reference = self.optim.reference_batch or self.train.global_batch
        ratio = self.train.global_batch / reference
        return {"none": 1.0, "linear": ratio, "sqrt": math.sqrt(ratio)}[self.optim.lr_scaling]

    def lr(self, t: int) -> float:
        """Learning rate of step t: a linear warm-up, then a cosine."""
        o, W, TT = self.optim, self.warmup, self.length  # noqa: N806
        if t < W:
            return self.lr_factor * (o.start_lr + t / W * (o.lr - o.start_lr))
        return self.lr_factor * cosine(o.lr, o.final_lr, (t - W) / (TT - W))

    def weight_decay(self, t: int) -> float:
        """Weight decay of step t: a cosine over the whole schedule."""
        o = self.optim
        return cosine(o.weight_decay, o.final_weight_decay, t / self.length)

    def clips(self, t: int) -> bool:
        """Whether step t is among those whose gradient is clipped, if any is."""
        return t > int(self.optim.clip_from_epoch * self.steps_per_epoch)

    def progress(self, step: int) -> float:
        """Share of the schedule done before step `step`, counted from 0: the target's progress."""
        return min(1.0, step / (self.train.schedule_scale * self._trained_steps))


def cosine(start: float, final: float, progress: float) -> float:
    """Half a wave from `start` to `final` as `progress` goes from 0 to 1; `final` from there on."""
    return final + (start - final) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
