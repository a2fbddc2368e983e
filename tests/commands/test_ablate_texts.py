"""What `jepa ablate` prints while it works."""

from __future__ import annotations

import json

import fake_jepa
import pytest

from jepa.ablation.outcome import read_outcome
from jepa.ablation.plan import plan
from jepa.ablation.settings import AblationConfig
from jepa.commands import ablate_texts
from jepa.core.settings import structure


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A sweep of two runs, of which nothing is done; every look is told."""
    monkeypatch.setattr(ablate_texts, "_TICK_S", 0.0)
    monkeypatch.setattr(ablate_texts, "_LOOK_S", 0.0)
    raw = {
        "base": "image/quickstart",
        "overrides": list(fake_jepa.TINY),
        "vary": {"optim.lr": [0.1, 0.2]},
        "budget": {"steps": 10},
    }
    sweep = plan(structure(raw, AblationConfig, "the sweep"), tmp_path / "out")
    for run in sweep.runs:
        run.folder.mkdir(parents=True)
    return sweep


def trains(run, step):
    with (run.folder / "metrics.jsonl").open("a") as metrics:
        metrics.write(json.dumps({"step": step}) + "\n")


def test_samples_are_told_while_something_trains_and_not_while_it_is_measured(made, capsys):
    first, second = made.runs
    progress = ablate_texts.Progress([read_outcome(run) for run in made.runs], lambda: None)
    trains(first, 4)
    progress.looks([first])
    assert "32 of 160 samples, " in capsys.readouterr().err
    (first.folder / "COMPLETED").write_text('{"step": 10}')
    progress.looks([first])
    progress.looks([first])
    progress.looks([])
    assert capsys.readouterr().err == ""
    trains(second, 5)
    progress.looks([first, second])
    assert "120 of 160 samples, " in capsys.readouterr().err
