"""What watches a run. Observers live on the first process; the run does not depend on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import attrs
import torch
from torch import Tensor

from jepa.core.data.held_out import HeldOut
from jepa.core.data.source import Source
from jepa.core.modality import Modality
from jepa.core.tokens import Masks

if TYPE_CHECKING:
    from jepa.core.config import RunConfig
    from jepa.core.model import JEPA


class FixedBatch(NamedTuple):
    """Samples and masks that stay the same for the whole run, whatever process or resume.

    The samples are held out (`RunView.held_out`), or of the training set where there are none.
    `inputs` [B, *S] are on the device, as the loader gives them (before the device transform).
    """

    inputs: Tensor
    views: tuple[Masks, ...]


@attrs.frozen(kw_only=True)
class RunView:
    """What an observer may look at. Looking must not change the run.

    Args:
        config: of the run.
        output: its folder.
        model: the model, not wrapped; call `model.represent` under `torch.no_grad()`.
        modality: for pictures.
        source: of the training samples.
        held_out: gives samples that the run does not train on, or None; opened when first asked
            for.
        fixed_batch: gives the fixed batch; decoded once, when first asked for.
        start_step: steps done before this process started (0, or the checkpoint's).
        total_steps: steps after which the run ends.
        steps_per_epoch: steps of an epoch.
        global_batch: samples of a step.
        device: of the model.
        autocast: gives the run's precision as a context manager.
    """

    config: RunConfig
    output: Path
    model: JEPA
    modality: Modality
    source: Source
    held_out: Callable[[], HeldOut | None]
    fixed_batch: Callable[[], FixedBatch]
    start_step: int
    total_steps: int
    steps_per_epoch: int
    global_batch: int
    device: torch.device
    autocast: Callable[[], Any]


@attrs.frozen
class Record:
    """Named scalars of one step: `train/loss`, `schedule/lr`, `perf/samples_per_s` and the like.

    Args:
        step: steps done, from 1.
        epoch: epochs done, with the fraction.
        metrics: what was measured at this step.
        notes: lines for people, such as a skipped step.
        status: how the run stands, in a few words; empty where no observer has said.
    """

    step: int
    epoch: float
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()
    status: str = ""


@attrs.frozen
class Remark:
    """What an observer has to say about a run.

    Args:
        status: how the run stands, in a few words. It holds until the observer says another.
        notes: lines for people, shown once.
    """

    status: str
    notes: tuple[str, ...] = ()


Outcome = Literal["completed", "interrupted", "failed"]


class Observer(ABC):
    """Watches a run. Built as `cls(config)`; the trainer calls it on the first process."""

    Config: ClassVar[type[Any]]

    @abstractmethod
    def start(self, run: RunView) -> None:
        """The run begins, or goes on after `run.start_step`: cut what was written after that."""

    @abstractmethod
    def measure(self, step: int) -> Mapping[str, float]:
        """Scalars of the step just done; an empty mapping (at no cost) where none are due."""

    @abstractmethod
    def remark(self, step: int) -> Remark | None:
        """What people should know, asked after `measure` of each step; None: nothing new."""

    @abstractmethod
    def record(self, record: Record) -> None:
        """The scalars of a step, with those that all observers measured."""

    @abstractmethod
    def saved(self, step: int) -> None:
        """A checkpoint of this step is about to be written: put what you hold on the disk."""

    @abstractmethod
    def finish(self, outcome: Outcome) -> None:
        """The run ends, or stops to go on later."""
