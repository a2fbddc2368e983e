"""`--nproc N` and torchrun: processes that start, stop and end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_run import (
    LIMIT_S,
    arguments,
    checkpoint_steps,
    environment,
    exact,
    marks,
    records,
    step_reached,
    wait_for,
    weights,
)

from jepa.core.errors import ConfigError
from jepa.core.training import launch

STEPS = 30
SETTINGS = (f"train.max_steps={STEPS}", "checkpoint.every=7")


def processes_of(output: Path) -> list[int]:
    """Processes that train into a folder, and their launcher."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(output) in line.split(b"\0"):
            found.append(int(entry.name))
    return found


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen(command, stdout=out, stderr=out, env=environment())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that was killed, stopped by a signal, and then finished."""
    output = tmp_path_factory.mktemp("launch") / "run"
    try:
        interrupt_and_finish(output)
    finally:
        for pid in processes_of(output):
            os.kill(pid, signal.SIGKILL)
    return output


def interrupt_and_finish(output: Path) -> None:
    log = output.parent / "log.txt"
    jepa = [sys.executable, "-m", "jepa"]
    command = [*jepa, *arguments(output, *SETTINGS, more=["--nproc", "2"])]

    # kill -9 of the launcher alone: its children must not train on.
    launcher = start(command, log)
    wait_for("a checkpoint", lambda: checkpoint_steps(output))
    assert len(processes_of(output)) >= 3
    launcher.kill()
    launcher.wait()
    wait_for("the end of all processes", lambda: not processes_of(output))
    assert marks(output) == set()
    killed_at = step_reached(output)

    # SIGTERM to the launcher reaches its children. The folder is free at once.
    launcher = start(command, log)
    wait_for("more steps", lambda: step_reached(output) > killed_at)
    launcher.terminate()
    assert launcher.wait(LIMIT_S) == 0, log.read_text()
    assert marks(output) == {"INTERRUPTED"}
    assert checkpoint_steps(output)[-1] == step_reached(output) < STEPS
    assert not processes_of(output)

    # torchrun: the same engine underneath. It may say by its exit code that it was stopped.
    torchrun = [str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node=2"]
    torchrun += ["--standalone", "-m", "jepa", *arguments(output, *SETTINGS)]
    stopped_at = checkpoint_steps(output)[-1]
    agent = start(torchrun, log)
    wait_for("more steps", lambda: step_reached(output) > stopped_at)
    agent.terminate()
    agent.wait(LIMIT_S)
    wait_for("the end of all processes", lambda: not processes_of(output))
    assert marks(output) == {"INTERRUPTED"}, log.read_text()
    assert checkpoint_steps(output)[-1] == step_reached(output) < STEPS

    done = start(torchrun, log)
    assert done.wait(LIMIT_S) == 0, log.read_text()


@pytest.mark.slow
def test_launched_runs_go_on_where_they_were_stopped(finished: Path, tmp_path: Path) -> None:
    assert marks(finished) == {"COMPLETED"}
    assert [r["step"] for r in records(finished)] == list(range(1, STEPS + 1))
    whole = tmp_path / "whole"
    command = [sys.executable, "-m", "jepa", *arguments(whole, *SETTINGS, more=["--nproc", "2"])]
    assert start(command, tmp_path / "log.txt").wait(LIMIT_S) == 0
    assert weights(finished, STEPS) == weights(whole, STEPS)
    assert exact(finished) == exact(whole)


# --- the launcher alone -------------------------------------------------------------------------

CHILD = """
import os, signal, sys, time
rank = os.environ["RANK"]
{before}
# As `StopRequest` does, once it is ready.
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
print(rank, os.environ["WORLD_SIZE"], os.environ["LOCAL_RANK"], flush=True)
{body}
"""


def launched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, body: str, nproc: int = 2, before: str = ""
) -> int:
    """Launch processes that run `body` instead of jepa, and `before` while they are not ready."""
    package = tmp_path / "jepa"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(CHILD.format(body=body, before=before))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    before = {number: signal.getsignal(number) for number in launch.FORWARDED}
    try:
        return launch.launch(nproc, [])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_all_well(monkeypatch, tmp_path, capfd):
    assert launched(monkeypatch, tmp_path, "", nproc=3) == 0
    assert sorted(capfd.readouterr().out.split("\n")) == ["", "0 3 0", "1 3 1", "2 3 2"]


def test_a_failure_ends_the_others_and_gives_its_code(monkeypatch, tmp_path):
    body = "sys.exit(3) if rank == '1' else time.sleep(600)"
    assert launched(monkeypatch, tmp_path, body) == 3


def test_a_killed_process_ends_the_others(monkeypatch, tmp_path):
    body = "os.kill(os.getpid(), signal.SIGKILL) if rank == '1' else time.sleep(600)"
    assert launched(monkeypatch, tmp_path, body) == 1


def test_a_process_that_ignores_sigterm_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "_GRACE_S", 0.5)
    body = (
        "if rank == '0':\n"
        "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "    open('ready', 'w').close()\n"
        "    time.sleep(600)\n"
        "while not os.path.exists('ready'): time.sleep(0.01)\n"
        "sys.exit(5)"
    )
    assert launched(monkeypatch, tmp_path, body) == 5


@pytest.mark.parametrize("number", launch.FORWARDED)
def test_signals_reach_every_process(monkeypatch, tmp_path, capfd, number):
    body = (
        f"signal.signal({int(number)}, lambda *_: (print('got it', flush=True), os._exit(0)))\n"
        "open(f'ready{rank}', 'w').close()\n"
        "while rank == '0' and not os.path.exists('ready1'): time.sleep(0.01)\n"
        f"if rank == '0': os.kill(os.getppid(), {int(number)})\n"
        "time.sleep(600)"
    )
    assert launched(monkeypatch, tmp_path, body) == 0
    assert capfd.readouterr().out.count("got it") == 2


def test_a_signal_that_comes_too_early_is_kept(monkeypatch, tmp_path, capfd):
    before = (
        "if rank == '0': os.kill(os.getppid(), signal.SIGTERM)\n"
        "time.sleep(0.5)\n"  # while the launcher passes it on
        "signal.signal(signal.SIGTERM, lambda *_: (print('got it', flush=True), os._exit(0)))"
    )
    assert launched(monkeypatch, tmp_path, "time.sleep(600)", before=before) == 0
    assert capfd.readouterr().out.count("got it") == 2


MORTAL = """
import os, subprocess, sys, time
sys.path.insert(0, {path!r})
from jepa.core.training import launch
launch.die_with_parent()
assert "JEPA_PARENT" not in os.environ
open(f"pid{{sys.argv[1]}}", "w").write(str(os.getpid()))
if sys.argv[1] != "2":
    child = [sys.executable, __file__, str(int(sys.argv[1]) + 1)]
    subprocess.Popen(child, env={{**os.environ, **launch.mortal()}})
time.sleep(600)
"""


def test_children_of_children_die_with_whoever_started_them(tmp_path):
    """As a sweep starts a launcher, which starts the processes of a run."""
    script = tmp_path / "mortal.py"
    script.write_text(MORTAL.format(path=str(Path(launch.__file__).parents[3])))
    first = subprocess.Popen([sys.executable, str(script), "0"], cwd=tmp_path)
    files = [tmp_path / f"pid{place}" for place in range(3)]
    wait_for("all three", lambda: all(file.exists() and file.read_text() for file in files))
    first.kill()
    first.wait()
    wait_for("the end of all", lambda: not any(alive(int(file.read_text())) for file in files))


def test_a_child_whose_parent_is_gone_already_does_not_begin(tmp_path):
    script = tmp_path / "mortal.py"
    script.write_text(MORTAL.format(path=str(Path(launch.__file__).parents[3])))
    alone = {**os.environ, "JEPA_PARENT": "1"}
    assert subprocess.run([sys.executable, str(script), "2"], cwd=tmp_path, env=alone).returncode
    assert not (tmp_path / "pid2").exists()


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for is dead."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_numbers_that_make_no_sense(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(ConfigError, match="--nproc: found 0, allowed: 1 or more"):
        launch.launch(0, [])
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun has started"):
        launch.launch(2, [])
