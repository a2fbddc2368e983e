"""Each check finds the part that breaks its promise, and no other check does."""

from __future__ import annotations

import subprocess

import attrs
import broken_data as data
import broken_masks as masks
import broken_modules as modules
import broken_training as training
import pytest
import torch
from torch import nn

from jepa.core import Grid, InputSpec
from jepa.testing import ConformanceError, conformance, kits, processes
from jepa.testing.promises import BrokenError

GRID = Grid((4, 6), ("y", "x"))
ON_GRID = {"grids": [GRID], "dim": 8}
VIT = {**ON_GRID, "settings": {"depth": 1, "heads": 2, "init_std": 0.3}}
PATCHES = {
    "specs": [InputSpec((2, 8, 8), ("y", "x"))],
    "dim": 8,
    "settings": {"size": [2, 4]},
}
KINDS = {
    "mask_sampler": (masks.BROKEN, {"grids": [GRID]}),
    "tokenizer": (modules.TOKENIZERS, PATCHES),
    "encoder": (modules.ENCODERS, VIT),
    "predictor": (modules.PREDICTORS, {**VIT, "settings": {**VIT["settings"], "dim": 8}}),
    "target_updater": (training.TARGET_UPDATERS, {"settings": {"start": 0.5}}),
    "objective": (training.OBJECTIVES, {"dim": 8}),
    "regularizer": (training.REGULARIZERS, {"dim": 8}),
    "modality": (data.MODALITIES, {"contents": data.CONTENTS}),
    "source": (data.SOURCES, {}),
    "protocol": (data.PROTOCOLS, {}),
    "observer": (data.OBSERVERS, {}),
}
BROKEN = [
    pytest.param(kind, cls, check, given, id=f"{kind}-{cls.__name__}")
    for kind, (parts, given) in KINDS.items()
    for cls, check in parts.items()
]
OF_MODULES = {"gradient_reaches_every_parameter", "repeats", "generators", "pickles", "on_meta"}
OF_MODULES |= {"bf16"}


@pytest.mark.parametrize(("kind", "cls", "check", "given"), BROKEN)
def test_just_the_check_that_is_meant_for_it_fails(kind, cls, check, given):
    found = conformance(kind, cls, slow=False, **given).failures()
    assert [name for error in found for name in error.checks] == [check], found
    assert f"{kind.replace('_', ' ')} {cls.__name__}" in str(found[0])
    assert "promised:" in str(found[0])
    assert "found:" in str(found[0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_has_a_part_that_breaks_it(kind):
    """Checks of all modules are tried on encoders, those of all parts below."""
    quick = {promise.name for promise in kits.load(kind).promises if not promise.slow}
    shared = {promise.name for promise in kits.common.PROMISES}
    if kind in ("tokenizer", "predictor", "objective", "regularizer"):
        shared |= OF_MODULES
    assert quick - shared == set(KINDS[kind][0].values())


# --- checks of every part ---------------------------------------------------------------------


class Unfinished(masks.MaskSampler):
    Config = masks.Sampler.Config


class WithoutConfig(masks.Sampler):
    Config = dict


class Thawed(masks.Sampler):
    @attrs.define(kw_only=True)
    class Config:
        ratio: float = 0.5


class Positional(masks.Sampler):
    @attrs.frozen
    class Config:
        ratio: float = 0.5


class Untold(masks.Sampler):
    @attrs.frozen(kw_only=True)
    class Config:
        ratio: float = attrs.field(default=0.5, converter=lambda v: v * 0.9)


class Unwritable(masks.Sampler):
    @attrs.frozen(kw_only=True)
    class Config:
        ratio: float = 0.5
        names: bytes = b"x"


class Numbered(masks.Sampler):
    @attrs.frozen(kw_only=True)
    class Config:
        ratio: float = 0.5
        weights: dict[int, float] = attrs.field(factory=lambda: {1: 0.5})


class Swallowing(masks.Sampler):
    def __init__(self, config, *, grid, **others):
        super().__init__(config, grid=grid)


@pytest.mark.parametrize(
    ("cls", "check"),
    [
        (Unfinished, "is_complete"),
        (WithoutConfig, "is_complete"),
        (Thawed, "settings_are_frozen"),
        (Positional, "settings_are_frozen"),
        (Untold, "settings_round_trip"),
        (Unwritable, "settings_round_trip"),
        (Numbered, "settings_round_trip"),
        (Swallowing, "no_keyword_sink"),
    ],
)
def test_a_class_or_its_settings_are_wrong(cls, check):
    found = conformance("mask_sampler", cls, grids=[GRID]).failures()
    assert [name for error in found for name in error.checks] == [check], found


# --- slow checks ------------------------------------------------------------------------------


def slow_failures(kind, cls, name, **given):
    checks = conformance(kind, cls, backend="aot_eager", **given).checks
    (check,) = [check for check in checks if check.name == name]
    with pytest.raises(ConformanceError) as caught:
        check()
    return str(caught.value)


def test_a_graph_that_breaks_is_found():
    said = slow_failures("encoder", modules.Branching, "compiles", **VIT)
    assert "the graph breaks" in said


def two_processes(monkeypatch, module):
    """What the check of two processes found, and what both said."""
    said = []
    run = subprocess.run

    def spy(*words, **settings):
        done = run(*words, **settings)
        said.append(done.stderr)
        return done

    monkeypatch.setattr(processes.subprocess, "run", spy)
    try:
        found = processes.gradients_of_two(module, (torch.ones(4, 3),), 0)
    except BrokenError as error:
        return str(error), said[0]
    return found, said[0]


@pytest.mark.slow
def test_two_processes_have_nothing_to_say(monkeypatch):
    found, said = two_processes(monkeypatch, nn.Linear(3, 2))
    assert set(found) == {"weight", "bias"}
    assert said == ""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_the_process_that_fails_first_says_why(monkeypatch, rank):
    """The other one fails too, for it waits for this one."""
    found, said = two_processes(monkeypatch, modules.FailsAlone(rank))
    assert found == f"two processes failed: ArithmeticError: nothing works on {rank}"
    assert said.count("Traceback") == 2
    assert "nothing works" not in said.splitlines()[-1]


@pytest.mark.slow
def test_statistics_of_one_process_are_found():
    said = slow_failures("regularizer", training.OwnShare, "distributed", dim=8)
    assert "gradients differ" in said
