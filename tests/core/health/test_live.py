"""The verdict on runs that are trained here: a healthy one whose loss rises, one that collapses
and one that diverges, on a seed of their own. `benchmarks/health.py` has the other kinds."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest
from recorded import recorded

import jepa
from jepa.core.health.rules import judge
from jepa.core.health.trace import HEALTH
from jepa.core.health.verdict import Kind

BENCHMARKS = Path(jepa.__file__).parents[1] / "benchmarks"
SEED = 17
STEPS = {
    "loss_rises": 100,
    "online_identity": 120,
    "lr_x100": 100,
}
"""Enough for a collapse to show; the schedules keep their length."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="benchmarks are in a checkout alone"),
]


@pytest.fixture
def benchmark(packages, monkeypatch) -> ModuleType:
    """`benchmarks/health.py`, with its predictor `identity` installed for this test."""
    parts = (BENCHMARKS / "health_parts.py").read_text("utf-8")
    group = {"jepa.predictors": {"identity": "health_parts:Identity"}}
    packages.add("health-parts", group, {"health_parts": parts})
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("health")


@pytest.mark.parametrize("recipe", STEPS)
def test_the_verdict_agrees_with_what_was_measured(benchmark, tmp_path, recipe):
    run = recorded(benchmark.record(recipe, SEED, tmp_path, STEPS[recipe]))
    steps = run.trace.series(f"{HEALTH}target_rank").steps.tolist()
    said = [judge(run.trace.until(step)).kind for step in steps]
    if run.label == "collapsed":
        assert said[-1] in (Kind.COLLAPSED, Kind.COLLAPSING)
    elif run.label == "diverged":
        assert said[-1].alarm
    elif run.label == "healthy" or recipe == "loss_rises":
        assert not [kind for kind in said if kind.alarm]
    if recipe in ("online_identity", "lr_x100"):
        assert run.label != "healthy", "nothing was pushed over the edge"
