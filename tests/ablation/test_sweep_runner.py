"""The sweep itself, with commands that take no time: order, failures, stops, going on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import attrs
import fake_jepa
import pytest

from jepa.ablation import slots
from jepa.ablation.outcome import read_outcome
from jepa.ablation.plan import Run, Sweep, plan
from jepa.ablation.runner import Watcher, make_runs
from jepa.ablation.settings import AblationConfig
from jepa.core.settings import structure
from jepa.core.training.signals import StopRequest


class Notes(Watcher):
    """Remembers, and does something when it looks."""

    def __init__(self, act=lambda running: None):
        self.began_runs, self.ended_runs, self._act = [], [], act

    def began(self, run: Run) -> None:
        self.began_runs.append(run.name)

    def ended(self, outcome) -> None:
        self.ended_runs.append((outcome.run.name, outcome.status))

    def looks(self, running) -> None:
        self._act(running)


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    """A folder in which `python -m jepa` is the fake one, and paths are short."""
    fake_jepa.install(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return tmp_path


def planned(site: Path, *labels: str, **more: object) -> Sweep:
    given = {
        "base": "image/quickstart",
        "vary": {"optim.lr": list(range(1, len(labels) + 1))},
        "labels": list(labels),
        "budget": {"steps": 4},
        "measure": ["knn"],
        **more,
    }
    config = structure(given, AblationConfig, "sweep")
    # Planning looks at checkpoints, and those of the fake are empty.
    sweep = plan(config, Path("empty"), fake_jepa.TINY)
    text = str(Path("empty"))
    moved = [
        attrs.evolve(
            run,
            folder=Path("out") / run.folder.relative_to("empty"),
            train_command=tuple(w.replace(text, "out", 1) for w in run.train_command),
            eval_command=tuple(w.replace(text, "out", 1) for w in run.eval_command),
        )
        for run in sweep.runs
    ]
    made = attrs.evolve(sweep, folder=Path("out"), runs=tuple(moved))
    fake_jepa.prepare_answers(site, made)
    return made


def make(sweep: Sweep, notes: Notes | None = None) -> Notes:
    notes = notes or Notes()
    with StopRequest() as request:
        make_runs(sweep, notes, request)
    return notes


def called(site: Path) -> list[str]:
    """`train a/seed0` of every call."""
    calls = [call["argv"] for call in fake_jepa.said(site)]
    places = [argv[argv.index("--output") + 1 if argv[0] == "train" else 1] for argv in calls]
    return [
        f"{argv[0]} {Path(place).relative_to('out/runs')}"
        for argv, place in zip(calls, places, strict=True)
    ]


def test_every_run_is_trained_and_measured_seeds_outermost(site):
    sweep = planned(site, "a", "b", seeds=[0, 1])
    notes = make(sweep)
    assert called(site) == [
        f"{command} {name}/seed{seed}"
        for seed in (0, 1)
        for name in "ab"
        for command in ("train", "eval")
    ]
    assert notes.began_runs == [run.name for run in sweep.runs]
    assert notes.ended_runs == [(run.name, "done") for run in sweep.runs]
    outcome = read_outcome(sweep.runs[2])
    assert outcome.step == 4
    assert set(outcome.scores["knn"]) == {"trained", "random init", "raw baseline"}
    assert outcome.scores["knn"]["trained"].value == 0.51
    assert set(read_outcome(sweep.runs[3]).scores["knn"]) == {"trained"}
    assert sweep.runs[0].log.read_text().startswith("$ jepa train --config image/quickstart ")


def test_what_is_done_is_left_alone_and_more_is_added(site):
    make(planned(site, "a", "b"))
    assert len(called(site)) == 4
    make(planned(site, "a", "b"))
    assert len(called(site)) == 4
    make(planned(site, "a", "b", "c", seeds=[0, 1]))
    assert called(site)[4:] == [
        f"{command} {run}"
        for run in ("c/seed0", "a/seed1", "b/seed1", "c/seed1")
        for command in ("train", "eval")
    ]


@pytest.mark.parametrize(
    "more",
    [
        {"measure": ["knn", "linear"]},
        {"measure": [{"name": "knn", "k": 3}]},
        {"evaluate": {"test_samples": 7}},
    ],
)
def test_another_measure_is_measured_and_nothing_is_trained(site, more):
    make(planned(site, "a"))
    sweep = planned(site, "a", **more)
    assert read_outcome(sweep.runs[0]).status == "stopped"
    assert "not measured" in read_outcome(sweep.runs[0]).reason
    make(sweep)
    assert called(site) == ["train a/seed0", "eval a/seed0", "eval a/seed0"]
    assert read_outcome(sweep.runs[0]).status == "done"


def test_a_run_that_fails_keeps_its_reason_and_stops_nobody(site):
    sweep = planned(site, "refused", "crashes", "dies", "a")
    notes = make(sweep)
    assert [status for _, status in notes.ended_runs] == ["failed", "failed", "failed", "done"]
    reasons = [read_outcome(run).reason for run in sweep.runs]
    assert reasons == [
        "config: 2 faults; a: wrong; b: wrong",
        "RuntimeError: out of luck",
        "ended by SIGKILL",
        "",
    ]
    # The next call tries it again, and nothing of the old failure is left where it is done.
    (sweep.runs[0].folder / "eval").mkdir(parents=True)
    (sweep.runs[0].folder / "COMPLETED").touch()
    notes = make(sweep)
    assert notes.ended_runs[0] == ("refused/seed0", "done")
    assert not sweep.runs[0].failure.exists()


def test_a_measurement_without_a_result_has_failed(site):
    sweep = planned(site, "a")
    asked = attrs.evolve(sweep.runs[0], steps=5)  # than the result will be of
    make(attrs.evolve(sweep, runs=(asked,)))
    assert read_outcome(asked).status == "failed"
    assert "wrote no result" in read_outcome(asked).reason


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_a_signal_stops_the_sweep_after_its_runs_have_saved(site, number):
    sweep = planned(site, "a", "waits", "b")
    ready = sweep.runs[1].folder / "ready"

    def act(running):
        if ready.exists() and running:
            os.kill(os.getpid(), number)
            ready.unlink()

    notes = make(sweep, Notes(act))
    assert notes.ended_runs == [("a/seed0", "done"), ("waits/seed0", "stopped")]
    assert read_outcome(sweep.runs[1]).reason == "step 2 of 4"
    assert read_outcome(sweep.runs[2]).status == "waiting"
    assert make(sweep).ended_runs == [("waits/seed0", "done"), ("b/seed0", "done")]


def test_a_fault_of_the_sweep_leaves_no_run_behind(site):
    sweep = planned(site, "waits")

    def act(running):
        if (running[0].folder / "ready").exists():
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        make(sweep, Notes(act))
    with pytest.raises(ProcessLookupError):
        os.kill(fake_jepa.said(site)[0]["pid"], 0)


def test_runs_at_the_same_time_share_cores_and_devices(site, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5")
    monkeypatch.setattr(slots.os, "sched_getaffinity", lambda _: range(12))
    notes = make(planned(site, "together1", "together2", "together3", parallel=3))
    assert {status for _, status in notes.ended_runs} == {"done"}
    calls = fake_jepa.said(site)
    assert [call["argv"][0] for call in calls[:3]] == ["train"] * 3
    assert sorted(call["CUDA_VISIBLE_DEVICES"] for call in calls[:3]) == ["3", "3", "GPU-5"]
    assert {call["OMP_NUM_THREADS"] for call in calls} == {"4"}


def test_slots(monkeypatch):
    monkeypatch.setattr(slots.os, "sched_getaffinity", lambda _: range(16))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0, 1,2,3")
    assert [e["CUDA_VISIBLE_DEVICES"] for e in slots.environments(3, 2)] == ["0,1", "2,3", "0,1"]
    assert slots.environments(1, 2)[0]["CUDA_VISIBLE_DEVICES"] == "0, 1,2,3"
    assert {e["OMP_NUM_THREADS"] for e in slots.environments(3, 2)} == {"2"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert {e["CUDA_VISIBLE_DEVICES"] for e in slots.environments(2, 1)} == {""}
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert {e["OMP_NUM_THREADS"] for e in slots.environments(2, 1)} == {"5"}
