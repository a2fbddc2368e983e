"""The sweep itself, with commands that take no time: order, failures, stops, going on."""

from __future__ import annotations

import json
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


def measured(site: Path) -> list[str]:
    """`a/seed0 knn+linear`, with `alone` where the baselines are left out, of every eval."""
    found = []
    for call in fake_jepa.said(site):
        argv = call["argv"]
        if argv[0] == "eval":
            asked = [argv[at + 1] for at, word in enumerate(argv) if word == "--protocol"]
            alone = " alone" if "--trained-only" in argv else ""
            name = Path(argv[1]).relative_to("out/runs").as_posix()
            found.append(f"{name} {'+'.join(asked)}{alone}")
    return found


def test_protocols_that_are_measured_are_kept_when_others_are_added(site):
    make(planned(site, "a", "b"))
    sweep = planned(site, "a", "b", measure=["linear", "knn"])
    assert [outcome.status for outcome in map(read_outcome, sweep.runs)] == ["stopped"] * 2
    assert set(read_outcome(sweep.runs[0]).scores) == {"knn"}
    make(sweep)
    assert measured(site)[2:] == ["a/seed0 linear", "b/seed0 linear alone"]
    assert set(read_outcome(sweep.runs[0]).scores["linear"]) == {
        "trained",
        "random init",
        "raw baseline",
    }
    make(planned(site, "a", "b", measure=["linear"]))
    assert len(measured(site)) == 4


def test_a_protocol_that_fails_takes_no_other_with_it(site):
    sweep = planned(site, "nolinear", measure=["linear", "knn"])
    make(sweep)
    assert measured(site) == [f"nolinear/seed0 {name}" for name in ("linear+knn", "linear", "knn")]
    outcome = read_outcome(sweep.runs[0])
    assert (outcome.status, outcome.reason) == ("failed", "linear: no quantity here")
    assert set(outcome.scores["knn"]) == {"trained", "random init", "raw baseline"}


def features(sweep: Sweep) -> list[int]:
    """How many features of each run are scored."""
    return [len(read_outcome(run).scores.get("knn", {})) for run in sweep.runs]


@pytest.mark.parametrize("first", ["crashes", "unmeasured"])
def test_baselines_are_measured_though_the_first_run_fails(site, first):
    sweep = planned(site, first, "b", "c", seeds=[0, 1])
    make(sweep)
    assert features(sweep) == [0, 3, 1, 0, 3, 1]
    # When it is done at last, nothing is measured twice.
    for run in sweep.runs:
        if not features(attrs.evolve(sweep, runs=(run,)))[0]:
            (run.folder / "eval").mkdir(parents=True, exist_ok=True)
            (run.folder / "COMPLETED").touch()
    seen = len(measured(site))
    make(sweep)
    assert len(measured(site)) == seen + 2
    if first == "crashes":
        assert measured(site)[-1] == "crashes/seed1 knn alone"


def test_runs_that_are_done_without_baselines_get_them(site):
    sweep = planned(site, "a", "b", "c")
    make(sweep)
    for path in (sweep.runs[0].folder / "eval").iterdir():
        path.unlink()
    (sweep.runs[0].folder / "COMPLETED").unlink()
    only = attrs.evolve(sweep, runs=sweep.runs[1:])
    notes = make(only)
    assert notes.began_runs == []
    assert measured(site)[3:] == ["b/seed0 knn"]
    assert features(only) == [3, 1]
    make(only)
    assert len(measured(site)) == 4


def test_runs_at_the_same_time_do_not_measure_baselines_twice(site):
    sweep = planned(site, "a", "b", "c", parallel=3)
    make(sweep)
    assert sorted(features(sweep)) == [1, 1, 3]


@pytest.mark.parametrize("told", ["{torn", "[]", "3", '{"step": 4}', '{"rows": [{}]}'])
def test_files_that_jepa_eval_did_not_write_are_no_answer(site, told):
    sweep = planned(site, "a")
    make(sweep)
    (sweep.runs[0].folder / "eval" / "0.json").write_text(told)
    answer = fake_jepa.answer(sweep.runs[0])
    del answer["rows"]
    (sweep.runs[0].folder / "eval" / "1.json").write_text(json.dumps(answer))
    assert read_outcome(sweep.runs[0]).status == "done"


def test_a_reason_in_any_script_is_read(site):
    (run,) = planned(site, "a").runs
    run.folder.mkdir(parents=True)
    run.failure.write_bytes("日本\n".encode() + b"\xff")
    assert read_outcome(run).reason == "日本\n\ufffd"


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
