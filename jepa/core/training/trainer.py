"""The one trainer. It knows steps, devices and processes, and no modality.

A run is a function of (config, step): nothing random is kept, so a resumed run goes on as if
nothing had happened (`core.rng`).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator
from pathlib import Path

import torch
from torch import Tensor

from jepa.core.build import Built
from jepa.core.config import RunConfig
from jepa.core.data.loading import load
from jepa.core.data.source import Source
from jepa.core.data.workers import resolve_workers
from jepa.core.errors import CheckpointError, TrainingError
from jepa.core.rng import device_seed
from jepa.core.tokens import Loss
from jepa.core.training import memory, precision, state
from jepa.core.training.checkpoint import Checkpoint, prune
from jepa.core.training.damage import Damage
from jepa.core.training.distributed import World
from jepa.core.training.feed import Micro, Work, feed
from jepa.core.training.meters import Clock, Meters, memory_gib
from jepa.core.training.observer import Outcome
from jepa.core.training.optimizer import Optimizer
from jepa.core.training.plan import Plan
from jepa.core.training.precision import Precision
from jepa.core.training.signals import StopRequest
from jepa.core.training.watch import Watch
from jepa.core.training.wrapping import apart, wrap


class Trainer:
    """Trains one run on this process, in step with the others.

    Args:
        config: of the run.
        built: its objects; the model moves to the device.
        source: of samples.
        plan: how steps are shared out.
        world: this process among the others.
        folder: of the run.
        numbers: the precision that steps are computed in.
        resume: the checkpoint to go on from, or None.
        watch: the observers; None on all but the first process.
    """

    def __init__(
        self,
        config: RunConfig,
        built: Built,
        source: Source,
        plan: Plan,
        world: World,
        folder: Path,
        numbers: Precision,
        resume: Checkpoint | None,
        watch: Watch | None,
    ) -> None:
        self.config, self.built, self.source, self.plan = config, built, source, plan
        self.world, self.folder, self.watch = world, folder, watch
        self.device = world.device
        self.model = built.model.to(self.device).train()
        self.precision = numbers
        self.schedules = plan.schedules
        self.total_steps = self.schedules.total_steps
        self.optimizer = Optimizer(self.model, config.optim)
        self.meters = Meters(self.device)
        self.clock = Clock()
        self.damage = Damage(folder, plan, world)
        self.step = 0
        if resume is not None:
            self._restore(resume)
        self.wrapped = wrap(self.model, self.world, compiled=config.train.compile)

    # --- the run --------------------------------------------------------------------------------

    def run(self, request: StopRequest) -> Outcome:
        """Train until the last step, or until a signal asks to stop; save either way.

        Args:
            request: that signals make.

        Raises:
            TrainingError: losses stay non-finite, or memory is out.
            DataError: too many samples cannot be decoded, or a loader process died.
            JepaError: a checkpoint cannot be written where they belong.
        """
        if self.step >= self.total_steps:
            return "completed"
        self.world.agree(self._unfit_place())
        first = saved_at = self.step
        with contextlib.closing(self._work()) as work:
            self.clock.restart()
            for item, waited in work:
                if item.step == first:
                    self._rehearse(item)
                metrics = self._train_step(item)
                self.step = item.step + 1
                self.clock.step(waited)
                stop = self._decide(request, item)
                self._report(metrics, last=self.step == self.total_steps)
                if stop or self._checkpoint_due():
                    self.save()
                    saved_at = self.step
                if stop:
                    break
        if saved_at != self.step:
            self.save()
        return "completed" if self.step >= self.total_steps else "interrupted"

    def _work(self) -> Generator[tuple[Work, float], None, None]:
        """The work of each step to come, and the seconds that it kept the loop waiting."""
        data = self.config.data
        batches = load(
            self.source,
            self.built.modality,
            seed=self.config.train.seed,
            global_batch=self.plan.global_batch,
            start=self.plan.rank * self.plan.local,
            count=self.plan.local,
            first_step=self.step,
            last_step=self.total_steps,
            workers=self._workers(),
            prefetch=data.prefetch,
            pin_memory=self.device.type == "cuda",
        )
        items = feed(batches, self.built.samplers, self.plan, self.device)
        with contextlib.closing(batches), contextlib.closing(items):
            while True:
                began = time.perf_counter()
                item = next(items, None)
                if item is None:
                    return
                yield item, time.perf_counter() - began

    def _workers(self) -> int:
        """Where the CPU trains, the feed's own thread decodes: workers would take its cores."""
        wanted = self.config.data.workers
        if wanted == "auto" and self.device.type == "cpu":
            return 0
        return resolve_workers(wanted, self.world.local_size)

    # --- one step -------------------------------------------------------------------------------

    def _train_step(self, item: Work) -> dict[str, float]:
        """Forward, backward, optimizer, target. Returns the scalars that schedules gave."""
        step, t = item.step, item.step + 1
        lr, weight_decay = self.schedules.lr(t), self.schedules.weight_decay(t)
        self.optimizer.set(lr, weight_decay, clips=self.schedules.clips(t))
        share = 1.0 / len(item.micros)
        sums: dict[str, Tensor] = {}
        with memory.advice(self.plan):
            for place, micro in enumerate(item.micros):
                loss = self._backward(step, place, micro, share, place == len(item.micros) - 1)
                for name, value in _named(loss).items():
                    sums[name] = sums.get(name, torch.zeros_like(value)) + share * value
            norm, applied = self.optimizer.step()
        progress = self.schedules.progress(step)
        moved = self.built.updater.update(self.model.target, self.model.backbone, progress, applied)
        self.meters.add(sums, norm, applied)
        views = item.micros[-1].views
        return {
            "schedule/lr": lr,
            "schedule/weight_decay": weight_decay,
            **{f"schedule/{name}": value for name, value in moved.items()},
            "train/context_tokens": sum(v.context.shape[1] for v in views) / len(views),
            "train/target_tokens": sum(math.prod(v.targets.shape[1:]) for v in views) / len(views),
        }

    def _rehearse(self, item: Work) -> None:
        """A pass whose gradients are thrown away, where several processes train (see `wrap`)."""
        if self.world.size == 1:
            return
        held = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        with memory.advice(self.plan):
            self._backward(item.step, 0, item.micros[0], 1.0, last=True)
        self.model.zero_grad(set_to_none=True)
        for buffer, before in held:
            buffer.copy_(before)
        self.clock.restart()

    def _backward(self, step: int, place: int, micro: Micro, share: float, last: bool) -> Loss:
        """One micro-step. Gradients meet over processes in the last one alone."""
        torch.manual_seed(device_seed(self.config.train.seed, step, place, self.world.rank))
        with contextlib.nullcontext() if last else apart(self.wrapped):
            with precision.autocast(self.precision, self.device):
                loss: Loss = self.wrapped(micro.inputs, micro.views)
            # A non-finite loss becomes a non-finite gradient, which reaches every process with
            # the average; so all of them skip the step, and none has to ask the others.
            weight = torch.where(torch.isfinite(loss.total), share, math.nan)
            loss.total.backward(weight.to(loss.total.dtype))  # type: ignore[no-untyped-call]
        return Loss(loss.total.detach(), loss.parts)

    # --- between steps --------------------------------------------------------------------------

    def _decide(self, request: StopRequest, item: Work) -> bool:
        """Whether to stop here: all processes decide the same at the same step."""
        stop, bad = self.world.sum([float(request.received is not None), float(len(item.bad))])
        if bad:
            self.damage.add(item.step, item.bad)
        return bool(stop)

    def _report(self, scheduled: dict[str, float], last: bool) -> None:
        """Every `log_every` steps: read the meters, and let the observers see."""
        due = last or self.step % self.config.train.log_every == 0
        # On the CPU there is no device to wait for, so a hopeless run is seen at once.
        if due or self.device.type == "cpu":
            self._stop_if_hopeless(float(self.meters.bad_row))
        metrics: dict[str, float] = {}
        notes: tuple[str, ...] = ()
        if due:
            scalars, notes = self.meters.read(self.world)
            metrics = {
                **scalars,
                **scheduled,
                **self.clock.read(self.plan.global_batch),
                "perf/memory_gib": memory_gib(self.device),
                "data/bad_samples": float(self.damage.count),
            }
            self.meters.clear()
        if self.watch is not None:
            self.watch.see(self.step, metrics, notes)
        if due:
            self.clock.restart()

    def _stop_if_hopeless(self, in_a_row: float) -> None:
        if in_a_row >= self.config.train.max_bad_steps:
            raise TrainingError(
                f"step {self.step}: {int(in_a_row)} steps in a row had a non-finite loss or "
                "gradient and were skipped. Try a lower optim.lr, a longer optim.warmup_epochs, "
                "optim.clip_grad=1.0 or train.precision=fp32, and look at the data for constant "
                "or extreme samples; the last checkpoint holds finite weights"
            )

    # --- checkpoints ----------------------------------------------------------------------------

    def _checkpoint_due(self) -> bool:
        every = self.config.checkpoint.every or self.plan.steps_per_epoch
        return self.step % every == 0

    def save(self) -> None:
        """Write a checkpoint on the first process while the others wait."""
        fault = None
        meters = self.meters.state(self.world)
        if self.world.is_first:
            if self.watch is not None:
                self.watch.saved(self.step)
            fault = self._try_save(meters)
        self.world.agree(fault)
        self.clock.restart()

    def _unfit_place(self) -> str | None:
        """Why checkpoints could not be written where they belong, or None."""
        try:
            if self.world.is_first:
                state.check_place(self.folder / "checkpoints", self.model, self.optimizer)
        except CheckpointError as error:
            return str(error)
        return None

    def _try_save(self, meters: dict[str, float]) -> str | None:
        """The reason why the checkpoint could not be written, or None."""
        progress = state.Progress(
            step=self.step,
            samples=self.plan.samples,
            fingerprint=self.source.fingerprint(),
            processes=self.world.size,
            precision=self.precision,
            meters=meters,
        )
        keep = self.config.checkpoint
        folder = self.folder / "checkpoints"
        try:
            written = state.write(folder, self.config, self.model, self.optimizer, progress)
            prune(folder, keep.keep_last, keep.keep_every, trusted=written)
        except CheckpointError as error:
            return str(error)
        return None

    def _restore(self, checkpoint: Checkpoint) -> None:
        state.load_model(checkpoint, self.model)
        state.load_optimizer(checkpoint, self.optimizer)
        self.meters.load(state.read_progress(checkpoint).meters, self.world)
        self.step = checkpoint.step


def _named(loss: Loss) -> dict[str, Tensor]:
    return {"loss": loss.total, **{f"loss/{name}": value for name, value in loss.parts.items()}}
