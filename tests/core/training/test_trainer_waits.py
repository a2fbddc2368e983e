"""Between log lines the loop reads nothing from the device: it runs on tensors without data."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import torch
from tiny_run import ALONE, tiny
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from jepa.core.training import session
from jepa.core.training.signals import StopRequest
from jepa.core.training.trainer import Trainer


class StopAfter(StopRequest):
    """Asks to stop once the trainer has done so many steps."""

    def __init__(self, trainer: Trainer, steps: int) -> None:
        self.trainer, self.steps = trainer, steps

    @property
    def received(self) -> str | None:  # type: ignore[override]
        return "SIGTERM" if self.trainer.step >= self.steps else None


def without_data(module: nn.Module, mode: FakeTensorMode) -> None:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                fake = mode.from_tensor(parameter.detach())
                part._parameters[name] = nn.Parameter(fake, parameter.requires_grad)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = mode.from_tensor(buffer)


@contextlib.contextmanager
def trainer(output: Path, *overrides: str) -> Iterator[Trainer]:
    """A trainer whose model, optimizer and meters have shapes but no numbers."""
    config = tiny("train.max_steps=1000", *overrides)
    built, source, plan = session.prepare(config, ALONE)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        without_data(built.model, mode)
        built.model.to = lambda device: built.model  # it is there, and torch cannot swap fakes
        numbers = "bf16" if config.train.precision == "bf16" else "fp32"
        made = Trainer(config, built, source, plan, ALONE, output, numbers, None, None)
        # On the CPU the trainer reads by design, since there is nothing to wait for.
        made.device = torch.device("meta")
        made.save = lambda: None  # type: ignore[method-assign]
        yield made


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("train.accumulate=2", "optim.clip_grad=1.0"),
        ("optim.clip_grad=1.0", "optim.clip_of=parts", "optim.clip_from_epoch=0.02"),
        ("model.target={name: online}", "model.objective={name: l1}"),
        ("masks=[{name: multiblock_official, min_keep: 4}, {name: multiblock, min_keep: 4}]",),
        ("model.encoder={name: vit, depth: 2, heads: 2, drop_path: 0.5}", "train.precision=bf16"),
        ("model.encoder.activation_checkpointing=true",),
    ],
    ids=["plain", "accumulate", "parts", "online", "views", "bf16", "recompute"],
)
def test_nothing_is_read_between_log_lines(tmp_path, monkeypatch, settings):
    with trainer(tmp_path, "train.log_every=100", *settings) as made:
        # Autocast is of the CPU, although the trainer takes its device for another.
        monkeypatch.setattr(
            "jepa.core.training.precision.torch.autocast",
            lambda _, **how: torch.amp.autocast_mode.autocast("cpu", **how),
        )
        assert made.run(StopAfter(made, 4)) == "interrupted"
        assert made.step == 4
        with pytest.raises(DataDependentOutputException):
            float(made.meters.bad_row)


def test_the_check_for_reads_can_fail(tmp_path):
    with trainer(tmp_path, "train.log_every=3") as made:
        with pytest.raises(DataDependentOutputException):
            made.run(StopAfter(made, 4))
        assert made.step == 3


@pytest.mark.parametrize(
    ("setting", "device", "local", "workers"),
    [("auto", "cpu", 1, 0), ("auto", "meta", 2, 4), ("auto", "meta", 16, 1), ("3", "cpu", 1, 3)],
)
def test_workers_share_the_cores_of_their_machine(
    tmp_path, monkeypatch, setting, device, local, workers
):
    asked = []

    def load(*_, **settings):
        asked.append(settings["workers"])
        yield from ()

    monkeypatch.setattr("jepa.core.training.trainer.load", load)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    config = tiny("train.max_steps=2", f"data.workers={setting}")
    built, source, plan = session.prepare(config, ALONE)
    made = Trainer(config, built, source, plan, ALONE, tmp_path, "fp32", None, None)
    # One of many machines: what the others do takes none of its cores.
    made.world = attrs.evolve(ALONE, size=128, local_size=local)
    made.device = torch.device(device)
    assert list(made._work()) == []
    assert asked == [workers]
