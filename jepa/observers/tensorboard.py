"""Scalars and pictures of masks for TensorBoard, in the folder `tensorboard` of the output."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, final

import attrs
import torch
from torch import Tensor

from jepa.core.build import make_samplers
from jepa.core.pictures import enlarge, overlay, pictured, sheet
from jepa.core.rng import Rng
from jepa.core.settings import positive
from jepa.core.tokens import Masks
from jepa.core.training.observer import Observer, Outcome, Record, Remark, RunView
from jepa.core.training.schedules import Schedules

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

FOLDER = "tensorboard"


@final
class TensorBoard(Observer):
    """Writes metrics under their names, notes and status as text, now and then a sheet of masks.

    A sheet shows samples of the fixed batch, one a row: the sample, and then each view of masks
    as the next step draws it. Context is plain, targets are tinted, what is hidden is dark and
    hatched.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """How often to draw pictures."""

        pictures_every: int = attrs.field(default=1000, validator=positive)
        """Steps between two sheets; the start of the run always has one."""
        pictures: int = attrs.field(default=8, validator=positive)
        """Samples on a sheet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._run: RunView | None = None
        self._writer: SummaryWriter | None = None
        self._status = ""

    def start(self, run: RunView) -> None:
        """Cut events after the step that the run goes on from, and open a new event file."""
        from torch.utils.tensorboard import SummaryWriter

        from jepa.observers.events import cut_events

        folder = run.output / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        # A run from the start draws its first sheet again, at step 0.
        cut_events(folder, run.start_step if run.start_step > 0 else -1)
        self._run = run
        self._writer = SummaryWriter(str(folder))
        if run.start_step == 0:
            self._draw(0)

    def measure(self, step: int) -> Mapping[str, float]:
        """No scalars; draws a sheet where one is due."""
        if step % self.config.pictures_every == 0:
            self._draw(step)
        return {}

    def remark(self, step: int) -> Remark | None:
        """Nothing of its own."""
        return None

    def record(self, record: Record) -> None:
        """Write the scalars and notes of a step."""
        writer = self._opened()[1]
        for name, value in record.metrics.items():
            writer.add_scalar(name, value, record.step)
        if record.notes:
            text = "\n\n".join(record.notes)
            writer.add_text("notes", text, record.step)
        if record.status != self._status:
            writer.add_text("status", record.status, record.step)
            self._status = record.status

    def saved(self, step: int) -> None:
        """Put all events on the disk."""
        run, writer = self._opened()
        writer.flush()
        for path in (run.output / FOLDER).glob("*tfevents*"):
            with path.open("rb") as written:
                os.fsync(written.fileno())

    def finish(self, outcome: Outcome) -> None:
        """Write what is left and close the event file, if the run came so far as to open one."""
        if self._writer is not None:
            self._writer.close()
        self._run = self._writer = None

    def _opened(self) -> tuple[RunView, SummaryWriter]:
        if self._run is None or self._writer is None:
            raise RuntimeError("tensorboard: start() comes before everything else")
        return self._run, self._writer

    def _draw(self, step: int) -> None:
        run, writer = self._opened()
        picture = masks_sheet(run, step, self.config.pictures)
        writer.add_image("masks", picture, step, dataformats="HWC")


def masks_sheet(run: RunView, step: int, samples: int) -> Tensor:
    """The masks that the first places of a step get, over the fixed batch: uint8 [h, w, 3].

    Args:
        run: gives the samples and the settings of the masks.
        step: optimizer step, from 0.
        samples: rows of the sheet; fewer where the batch, or a group of masks that are trimmed
            together, is smaller.
    """
    inputs = run.fixed_batch().inputs
    grid = run.model.backbone.tokenizer.grid
    samplers = make_samplers(run.config, grid)
    groups = [sampler.trim_group or run.global_batch for sampler in samplers]
    n = min(samples, inputs.shape[0], run.global_batch, *groups)
    schedules = Schedules(run.config.optim, run.config.train, run.steps_per_epoch)
    progress = schedules.progress(step)

    def masks(view: int) -> Masks:
        rng = Rng(run.config.train.seed, step, n, 0, run.global_batch, view, progress)
        return samplers[view].sample(n, rng)

    with torch.no_grad():
        pictures = pictured(run.modality, inputs[:n], grid)
    views = [overlay(pictures, grid, masks(view)) for view in range(len(samplers))]
    return sheet([enlarge(pictures), *views])
