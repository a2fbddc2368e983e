"""From a config to a finished run: what `jepa train` does on each process."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import attrs

from jepa.core.build import Built, build, with_modality
from jepa.core.config import RunConfig
from jepa.core.data.bad_samples import BadSamples
from jepa.core.data.held_out import held_out
from jepa.core.data.opening import open_source
from jepa.core.data.order import Order
from jepa.core.data.source import Source
from jepa.core.errors import CheckpointError, DataError, JepaError, TrainingError
from jepa.core.settings import unstructure
from jepa.core.training import cost, memory, precision, state
from jepa.core.training.checkpoint import Checkpoint, newest_valid
from jepa.core.training.damage import BAD_SAMPLES
from jepa.core.training.distributed import World
from jepa.core.training.fixed import Fixed
from jepa.core.training.host import tune_host
from jepa.core.training.measuring import measured
from jepa.core.training.observer import Outcome, RunView
from jepa.core.training.plan import Plan
from jepa.core.training.precision import Precision
from jepa.core.training.resume import config_differences
from jepa.core.training.runfolder import RunFolder
from jepa.core.training.signals import StopRequest
from jepa.core.training.trainer import Trainer
from jepa.core.training.watch import Watch

_COUNTED = 20
"""Steps over the schedule whose masks tell the operations of a sample."""


class Prepared(NamedTuple):
    """A run whose parts and data are found to fit, before anything is written.

    `plan.config` is the run's config with what was measured on the data.
    """

    built: Built
    source: Source
    plan: Plan


def prepare(config: RunConfig, world: World) -> Prepared:
    """Build the parts, open the data and share out the steps.

    Raises:
        JepaError: the first thing that does not fit.
    """
    with memory.whole_model():
        built = build(config)
    source = _open(config, built, world)
    plan = Plan(config, world.rank, world.size, len(source))
    plan.check_groups(built.samplers)
    # Made for what they refuse: too few samples, a warm-up that never ends.
    _ = plan.schedules, Order(config.train.seed, len(source), plan.global_batch)
    fitted = measured(config, source, world)
    if fitted != config:
        built, plan = with_modality(built, fitted), attrs.evolve(plan, config=fitted)
    return Prepared(built, source, plan)


def _open(config: RunConfig, built: Built, world: World) -> Source:
    """The samples, the same on every process; the first goes ahead, so an index is built once."""
    source: Source | None = None
    for first in (True, False):
        fault = None
        if world.is_first == first:
            try:
                source = open_source(config.data, built.modality)
            except JepaError as error:
                if world.size == 1:
                    raise
                fault = str(error) if first else f"met by process {world.rank}: {error}"
        world.agree(fault)
    assert source is not None
    mine = len(source), source.fingerprint()
    seen = world.gather(mine)
    strange = [rank for rank, other in enumerate(seen) if other != seen[0]]
    if strange:
        raise DataError(
            f"processes see different samples: the first has {seen[0][0]}, process {strange[0]} "
            f"has {seen[strange[0]][0]}, or others in another order; data.root must be the same "
            "everywhere"
        )
    return source


def train(
    config: RunConfig,
    output: Path,
    world: World,
    *,
    allow_config_change: bool = False,
    request: StopRequest | None = None,
) -> Outcome:
    """Train into a folder, going on from its newest valid checkpoint.

    Args:
        config: of the run.
        output: the run's folder; locked until this returns.
        world: this process among the others.
        allow_config_change: go on although the config differs from the checkpoint's.
        request: that signals make; None: they make one while this lasts.

    Returns:
        `completed`, or `interrupted` by a signal after saving. The folder is marked alike.

    Raises:
        JepaError: whatever stops the run. Its last checkpoint stays.
    """
    if request is None:
        with StopRequest() as request:
            return train(
                config, output, world, allow_config_change=allow_config_change, request=request
            )
    tune_host(world.device, config.train.deterministic)
    prepared = prepare(config, world)
    config = prepared.plan.config
    folder = RunFolder(output)
    try:
        resume = _claim(config, folder, world, prepared, allow_config_change)
        return _train(config, folder, world, prepared, resume, request)
    finally:
        folder.unlock()


def _train(
    config: RunConfig,
    folder: RunFolder,
    world: World,
    prepared: Prepared,
    resume: Checkpoint | None,
    request: StopRequest,
) -> Outcome:
    built, source, plan = prepared
    numbers = _precision(config, world, prepared, resume)
    watch = _watch(config, folder, world, prepared, resume, numbers) if world.is_first else None
    outcome: Outcome = "failed"
    try:
        with memory.whole_model():
            trainer = Trainer(
                config, built, source, plan, world, folder.path, numbers, resume, watch
            )
        if watch is not None:
            watch.start()
        outcome = trainer.run(request)
    finally:
        if watch is not None:
            # What ended the run is told, and not what an observer meets then.
            failed = outcome == "failed"
            with contextlib.suppress(TrainingError) if failed else contextlib.nullcontext():
                watch.finish(outcome)
    if world.is_first:
        folder.mark("completed" if outcome == "completed" else "interrupted", trainer.step)
    return outcome


def _claim(
    config: RunConfig,
    folder: RunFolder,
    world: World,
    prepared: Prepared,
    allow_config_change: bool,
) -> Checkpoint | None:
    """Lock the folder and decide where to go on; every process gets the same answer."""
    fault, found = None, None
    if world.is_first:
        try:
            folder.lock()
            found = _resumable(config, folder, prepared, allow_config_change)
            folder.clear_marks()
            BadSamples(folder.path / BAD_SAMPLES).cut_back(found.step if found else 0)
        except (JepaError, OSError) as error:
            if world.size == 1:
                raise
            fault = str(error)
    world.agree(fault)
    place = world.from_first((str(found.path), found.step) if found else None)
    return Checkpoint(Path(place[0]), place[1]) if place else None


def _resumable(
    config: RunConfig, folder: RunFolder, prepared: Prepared, allow_config_change: bool
) -> Checkpoint | None:
    """The checkpoint to go on from.

    Raises:
        CheckpointError: none is valid, config or data differ from the checkpoint's, or the run
            has gone further than is asked for.
    """
    found, reports = newest_valid(folder.checkpoints)
    for report in reports:
        print(f"jepa: {report}; passed over", file=sys.stderr)
    if found is None:
        return None
    progress = state.read_progress(found)
    changed = config_differences(found, unstructure(config))
    if progress.fingerprint != prepared.source.fingerprint():
        changed.append(
            f"data: {progress.samples} samples -> {len(prepared.source)} samples, "
            "or others, or in another order"
        )
    if changed and not allow_config_change:
        listed = "\n".join(f"  {line}" for line in changed)
        raise CheckpointError(
            f"{folder.path} holds a run of another config (step {found.step}); it differs in\n"
            f"{listed}\nChoose another --output, or go on all the same with --allow-config-change"
        )
    asked = prepared.plan.schedules.total_steps
    if found.step > asked:
        raise CheckpointError(
            f"{folder.path} holds a run of {found.step} steps already, more than the {asked} asked "
            "for; raise train.max_steps or train.epochs, or choose another --output"
        )
    return found


def _precision(
    config: RunConfig, world: World, prepared: Prepared, resume: Checkpoint | None
) -> Precision:
    """What the steps are computed in; under `auto` a run keeps to what it began with.

    `auto` depends on the machine and on the share of each process, which may differ on resuming.
    """
    built, plan = prepared.built, prepared.plan
    chosen = precision.resolve(
        config.train.precision,
        world.device,
        dim=built.model.backbone.dim,
        rows=plan.micro * built.grid.size,
    )
    if resume is None or config.train.precision != "auto":
        return chosen
    begun = state.read_progress(resume).precision
    if begun != chosen and world.is_first:
        print(
            f"jepa: the run began in {begun} and goes on in it; train.precision=auto would choose "
            f"{chosen} here",
            file=sys.stderr,
        )
    return begun


def _watch(
    config: RunConfig,
    folder: RunFolder,
    world: World,
    prepared: Prepared,
    resume: Checkpoint | None,
    numbers: Precision,
) -> Watch:
    built, source, plan = prepared
    device = world.device
    held = functools.cache(lambda: held_out(config.data, built.modality, source))
    run = RunView(
        config=config,
        output=folder.path,
        model=built.model,
        modality=built.modality,
        source=source,
        held_out=held,
        fixed_batch=Fixed(config, source, held, built.modality, built.samplers, device),
        start_step=resume.step if resume else 0,
        total_steps=plan.schedules.total_steps,
        steps_per_epoch=plan.steps_per_epoch,
        global_batch=plan.global_batch,
        device=device,
        autocast=lambda: precision.autocast(numbers, device),
    )
    return Watch(run, _utilisation_per_rate(config, world, numbers == "bf16"))


def _utilisation_per_rate(config: RunConfig, world: World, bf16: bool) -> float | None:
    try:
        flops = cost.count(config, steps=_COUNTED).flops_per_sample
    except RuntimeError:
        # A part that reads its tensors trains, but cannot be counted on the meta device.
        return None
    return flops / (cost.peak_flops(world.device, bf16) * world.size)
