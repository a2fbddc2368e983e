"""What a sweep finds in the samples before its first run: whether they fit, and which they are."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, final

import attrs

from jepa.ablation.checks import Complaints
from jepa.ablation.plan import Run, Samples, Sweep
from jepa.ablation.strangers import strangers
from jepa.ablation.variants import draft
from jepa.core.build import make_modality
from jepa.core.data.opening import open_source
from jepa.core.data.order import Order
from jepa.core.data.source import Source
from jepa.core.errors import CheckpointError, ConfigError, Fault, JepaError
from jepa.core.modality import Modality
from jepa.core.parts import Part, plain
from jepa.core.training.checkpoint import checkpoints
from jepa.core.training.plan import Plan
from jepa.core.training.state import Progress, read_progress
from jepa.evaluation.candidates import Splits
from jepa.evaluation.sources import read_source


def with_samples(sweep: Sweep) -> Sweep:
    """The sweep, its runs knowing their samples, after everything that needs those was looked at.

    Args:
        sweep: as planned.

    Raises:
        ConfigError: with every fault at once: samples that are not there, or too few; a warm-up
            longer than the budget; what nothing can be measured on; a protocol that refuses its
            settings; a run that was trained on other samples.
    """
    drafts, _ = draft(sweep.config)
    common = (*sweep.config.overrides, *sweep.overrides)
    complaints = Complaints(sweep.config, drafts, common)
    first = {run.variant.label: run for run in reversed(sweep.runs)}
    opened = _Opened(sweep.config.nproc or 1)
    seen: dict[str, Samples] = {}
    for each in drafts:
        with complaints.of(each):
            seen[each.variant.label] = opened.look(first[each.variant.label])
    faults = [*_protocols(sweep), *complaints.told()]
    runs = [attrs.evolve(run, samples=seen.get(run.variant.label)) for run in sweep.runs]
    faults += [fault for run in runs for fault in _trained_on_others(run)]
    if faults:
        raise ConfigError(faults, "the sweep")
    return attrs.evolve(sweep, runs=tuple(runs))


@final
class _Opened:
    """Sources of the variants, each opened once.

    Args:
        processes: of a run.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._made: dict[str, tuple[Source, str, str, str]] = {}

    def look(self, run: Run) -> Samples:
        """The samples of a run.

        Raises:
            JepaError: they are not there, or do not do for it.
        """
        config = run.config
        key = json.dumps(plain([config.modality, config.data]), default=str)
        if key not in self._made:
            self._made[key] = _open(run)
        source, *fingerprints = self._made[key]
        plan = Plan(config, 0, self._processes, len(source))
        # Made for what they refuse, as in training.
        _ = plan.schedules, Order(config.train.seed, len(source), plan.global_batch)
        return Samples(**dict(zip(("trained", "train", "test"), fingerprints, strict=True)))


def _open(run: Run) -> tuple[Source, str, str, str]:
    """The source that a run is trained on, and the fingerprints of all three."""
    with strangers():
        modality = make_modality(run.config)
        source = open_source(run.config.data, modality)
        trained = source.fingerprint()
    splits = _measured_on(run, modality)
    with strangers():
        return source, trained, splits.train.fingerprint(), splits.test.fingerprint()


def _measured_on(run: Run, modality: Modality) -> Splits:
    """The sources that protocols fit to and score on, opened as `jepa eval` opens them."""
    found: dict[str, Source] = {}
    faults: list[Fault] = []
    for split, text in (("train", run.evaluate.train), ("test", run.evaluate.test)):
        where = f"evaluate.{split}"
        read = functools.partial(read_source, text, run.config, modality, split, labelled=True)
        try:
            found[split] = _at(where, functools.partial(read, where=where))
        except ConfigError as error:
            faults += error.faults
    if faults:
        raise ConfigError(faults)
    splits: Splits = _at("evaluate", lambda: Splits(train=found["train"], test=found["test"]))
    return splits


def _protocols(sweep: Sweep) -> list[Fault]:
    """What protocols refuse when they are made."""
    faults: list[Fault] = []
    for place, part in enumerate(sweep.config.measure):
        try:
            _at(f"measure.{place}", functools.partial(_make, part))
        except ConfigError as error:
            faults += error.faults
    return faults


def _make(part: Part) -> object:
    return part.cls(part.config)


def _at(where: str, make: Callable[[], Any]) -> Any:
    """What `make` gives; what it refuses is told at its place in the sweep's file."""
    try:
        with strangers():
            return make()
    except JepaError as error:
        raise ConfigError(Fault(where, str(error).removeprefix(f"{where}: "))) from error


def _trained_on_others(run: Run) -> list[Fault]:
    """Scores of a run that was trained on other samples would stand in the table as if of these."""
    found = _progress(run)
    if run.samples is None or found is None or found.fingerprint == run.samples.trained:
        return []
    told = (
        f"holds a run on other samples (step {found.step}, {found.samples} samples), or on the "
        "same in another order; choose another --output, or remove that folder"
    )
    return [Fault(str(run.folder), told)]


def _progress(run: Run) -> Progress | None:
    """What the newest checkpoint says that says anything: all of a run are of the same samples."""
    for checkpoint in reversed(checkpoints(run.folder / "checkpoints")):
        try:
            return read_progress(checkpoint)
        except CheckpointError:  # damaged; training tells it
            continue
    return None
