"""Checks of observers, on a run of a second."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from jepa.core.training.observer import Observer, Record, Remark
from jepa.testing.generators import untouched
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.toys import toy_run

_OBSERVER = "jepa.core.Observer"
_STEPS = 4


def _made(subject: Subject) -> Observer:
    made: Observer = subject.cls(subject.config)
    return made


def _watch(
    observer: Observer,
    folder: Path,
    start: int = 0,
    look: Callable[[nn.Module], None] | None = None,
) -> None:
    """The life of an observer from a step on, as the trainer lives it."""
    run, built = toy_run(folder, start)
    observer.start(run)
    for step in range(start + 1, _STEPS + 1):
        metrics = {"train/loss": 1.0 / step, "schedule/lr": 1e-3, **observer.measure(step)}
        remark = observer.remark(step)
        notes = remark.notes if remark is not None else ()
        observer.record(Record(step, step / _STEPS, metrics, notes))
        observer.saved(step)
        if look is not None:
            look(built.model)
    observer.finish("completed")


def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="jepa-observer-")


@promise(_OBSERVER, basic=True)
def lives_a_run(subject: Subject) -> None:
    """It is started, measures, remarks, records and saves each step, and finishes."""
    with _folder() as folder:
        _watch(_made(subject), Path(folder))


@promise("jepa.core.Observer.measure, jepa.core.Observer.remark")
def speaks(subject: Subject) -> None:
    """`measure` gives named numbers, and `remark` a Remark or None."""
    observer = _made(subject)
    with _folder() as folder:
        observer.start(toy_run(Path(folder))[0])
        for step in (1, 2, _STEPS):
            measured = observer.measure(step)
            odd = [n for n, v in measured.items() if type(n) is not str or type(v) is not float]
            expect(not odd, f"step {step}: {odd} {'are' if len(odd) > 1 else 'is'} no float")
            remark = observer.remark(step)
            expect(remark is None or isinstance(remark, Remark), f"step {step}: {remark!r}")
            observer.record(Record(step, step / _STEPS, measured))
        observer.finish("completed")


@promise(_OBSERVER)
def weights_stay(subject: Subject) -> None:
    """Looking changes no weight, and leaves no gradient."""
    with _folder() as folder:
        expected = toy_run(Path(folder))[1].model.state_dict()

        def look(model: nn.Module) -> None:
            found = model.state_dict()
            changed = [name for name, value in expected.items() if not value.equal(found[name])]
            expect(not changed, f"{', '.join(changed[:4])} changed")
            left = [name for name, p in model.named_parameters() if p.grad is not None]
            expect(not left, f"a gradient was left at {', '.join(left[:4])}")

        _watch(_made(subject), Path(folder), look=look)


@promise(_OBSERVER)
def modes_stay(subject: Subject) -> None:
    """Looking leaves every module in its training or evaluation mode, and gradients enabled."""
    with _folder() as folder:
        modes = [module.training for module in toy_run(Path(folder))[1].model.modules()]

        def look(model: nn.Module) -> None:
            expect([m.training for m in model.modules()] == modes, "modes of modules changed")
            expect(torch.is_grad_enabled(), "gradients were left switched off")

        _watch(_made(subject), Path(folder), look=look)


@promise("jepa.core.Observer.start")
def resumes(subject: Subject) -> None:
    """A run that goes on from an earlier step can be watched again, in the same folder."""
    with _folder() as folder:
        _watch(_made(subject), Path(folder))
        _watch(_made(subject), Path(folder), start=2)


@promise("jepa.core.Observer.finish")
def finishes_unstarted(subject: Subject) -> None:
    """A run that fails before it starts is finished without a word."""
    _made(subject).finish("failed")


@promise(_OBSERVER)
def generators(subject: Subject) -> None:
    """Looking draws from no global generator: the run must be as if nobody watched."""
    with _folder() as folder:
        untouched(lambda: _watch(_made(subject), Path(folder)))


PROMISES: tuple[Promise, ...] = (
    lives_a_run,
    speaks,
    weights_stay,
    modes_stay,
    resumes,
    finishes_unstarted,
    generators,
)
