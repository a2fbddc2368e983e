"""Killed and stopped runs against the uninterrupted one: every byte, every line."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import (
    Starter,
    arguments,
    checkpoint_steps,
    exact,
    kill,
    marks,
    records,
    starter,
    step_reached,
    wait_for,
    weights,
)

pytestmark = pytest.mark.slow

STEPS = 60
SETTINGS = (
    f"train.max_steps={STEPS}",
    "checkpoint.every=7",
    "train.log_every=2",  # so that checkpoints fall between log lines
    "model.encoder={name: vit, depth: 2, heads: 2, drop_path: 0.3}",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with starter(tmp_path_factory.mktemp("logs")) as made:
        yield made


@pytest.fixture(scope="module")
def uninterrupted(run: Starter, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The run that nothing stopped, on 1 and on 2 processes."""
    folders = {}
    for processes in (1, 2):
        folders[processes] = tmp_path_factory.mktemp("whole") / str(processes)
        run.run(arguments(folders[processes], *SETTINGS), processes)
    return folders


def assert_same(output: Path, whole: Path) -> None:
    """Weights to the byte; each step once, with the same values."""
    assert marks(output) == {"COMPLETED"}
    assert [r["step"] for r in records(output)] == list(range(2, STEPS + 1, 2))
    assert exact(output) == exact(whole)
    assert weights(output, STEPS) == weights(whole, STEPS)


def test_reference_is_of_use(uninterrupted: dict[int, Path]) -> None:
    one, two = (exact(uninterrupted[n]) for n in (1, 2))
    assert marks(uninterrupted[1]) == {"COMPLETED"}
    assert one[0]["train/loss"] != one[-1]["train/loss"]
    assert [r["train/context_tokens"] for r in one] == [r["train/context_tokens"] for r in two]


@pytest.mark.parametrize(("processes", "kills"), [(1, 6), (2, 4)])
def test_kill_9_at_random_steps_changes_nothing(
    run: Starter, uninterrupted: dict[int, Path], tmp_path: Path, processes: int, kills: int
) -> None:
    draw = random.Random(processes)
    output = tmp_path / "run"
    argv = arguments(output, *SETTINGS)
    hit = []
    for number in range(kills):
        began = time.time()
        pids = run.start_several(argv, processes)
        goal = draw.randint(1, STEPS * (number + 1) // (kills + 1))
        if number == 1:  # while it starts
            time.sleep(draw.uniform(0.1, 0.5))
            victims = pids
        else:
            wait_for(f"step {goal}", lambda: step_reached(output, began) >= goal)  # noqa: B023
            time.sleep(draw.uniform(0.0, 0.1))
            # One of them or all; one that loses its peers must end by itself.
            victims = draw.choice([pids, pids[:1], pids[-1:]])
        for pid in victims:
            kill(pid)
        codes = [run.wait(pid) for pid in pids]
        assert all(code != 0 for code in codes), run.said()
        hit.append(step_reached(output))
    assert marks(output) == set()
    assert len(set(hit)) > 2, hit

    run.run(argv, processes)
    assert_same(output, uninterrupted[processes])


@pytest.mark.parametrize("processes", [1, 2])
def test_signals_save_and_exit_0_and_the_same_command_goes_on(
    run: Starter, uninterrupted: dict[int, Path], tmp_path: Path, processes: int
) -> None:
    output = tmp_path / "run"
    argv = arguments(output, *SETTINGS)
    for goal, number in ((9, signal.SIGTERM), (23, signal.SIGINT), (37, signal.SIGUSR1)):
        pids = run.start_several(argv, processes)
        wait_for(f"step {goal}", lambda: step_reached(output) >= goal)  # noqa: B023
        # Schedulers may tell one process of many, and the last must do as well as the first.
        kill(pids[-1], number)
        assert [run.wait(pid) for pid in pids] == [0] * processes, run.said()
        assert marks(output) == {"INTERRUPTED"}
        reached = checkpoint_steps(output)[-1]
        assert goal <= reached < STEPS

    run.run(argv, processes)
    assert_same(output, uninterrupted[processes])


def test_a_run_goes_on_with_another_number_of_processes(
    run: Starter, uninterrupted: dict[int, Path], tmp_path: Path
) -> None:
    output = tmp_path / "run"
    for steps, processes in ((20, 1), (40, 2), (STEPS, 1)):
        # `train.epochs` of the quickstart config gives the schedules their length.
        run.run(arguments(output, *SETTINGS, f"train.max_steps={steps}"), processes)
        assert marks(output) == {"COMPLETED"}
    whole = exact(uninterrupted[1])
    assert [r["step"] for r in records(output)] == list(range(2, STEPS + 1, 2))
    for name in ("train/context_tokens", "train/target_tokens", "schedule/lr"):
        assert [r[name] for r in records(output)] == [r[name] for r in whole]


def test_three_processes_resume_to_the_byte(run: Starter, tmp_path: Path) -> None:
    # From three on, the order of a sum over processes matters, and with it DDP's buckets.
    settings = ("train.global_batch=12", "train.max_steps=10", "checkpoint.every=5")
    whole, again = tmp_path / "whole", tmp_path / "again"
    run.run(arguments(whole, *settings), 3)
    shutil.copytree(whole, again)
    shutil.rmtree(again / "checkpoints" / "step_00000010")
    run.run(arguments(again, *settings), 3)
    assert weights(again, 10) == weights(whole, 10)
    assert exact(again) == exact(whole)
