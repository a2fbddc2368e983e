"""`jepa ablate` end to end: real runs, killed and gone on with; and its words."""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import fake_jepa
import pytest

from jepa import cli
from jepa.core.files import write_atomic
from jepa.core.training.runfolder import RunFolder
from jepa.core.yamlfile import to_yaml

SWEEP = {
    "base": "image/quickstart",
    "overrides": [*fake_jepa.TINY, "checkpoint.every=1"],
    "vary": {"masks.0": [{"name": "multiblock", "min_keep": 4}, "random"]},
    "labels": ["blocks", "random"],
    "budget": {"steps": 6},
    "measure": ["knn"],
    "evaluate": {"train_samples": 100, "test_samples": 50},
}


LIMIT_S = 120.0
"""After which a process that should have done something is taken to hang."""


def written(folder: Path, **more: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "sweep.yaml", to_yaml({**SWEEP, **more}))
    return str(folder / "sweep.yaml")


def processes_of(folder: Path) -> list[int]:
    """Processes whose command line names something in a folder, this one aside."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
        except OSError:
            continue
        if os.fsencode(folder) in line and int(entry.name) != os.getpid():
            found.append(int(entry.name))
    return found


def wait_for(what: str, happened: Callable[[], object]) -> None:
    """Poll until `happened()`."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {LIMIT_S:.0f} s in vain for {what}"
        time.sleep(0.01)


def table(folder: Path) -> list[dict[str, str]]:
    """Rows of results.csv, less what clocks and folders give."""
    with (folder / "results.csv").open(newline="") as rows:
        return [
            {key: text for key, text in row.items() if not key.endswith(("seconds", "command"))}
            for row in csv.DictReader(rows)
        ]


@pytest.mark.slow
def test_a_sweep_survives_kill_9_and_gives_the_same_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = {"vary": {"masks.0": [{"name": "multiblock", "min_keep": 4}]}, "labels": ["blocks"]}
    config, output = written(tmp_path, **one), tmp_path / "out"
    command = ["ablate", "--config", config, "--output", str(output)]
    first = output / "runs" / "blocks" / "seed0"
    try:
        sweep = subprocess.Popen([sys.executable, "-m", "jepa", *command])
        wait_for("a checkpoint", lambda: list(first.glob("checkpoints/step_*")))
        sweep.kill()
        sweep.wait()
        wait_for("the end of all processes", lambda: not processes_of(output))
    finally:
        for pid in processes_of(output):
            os.kill(pid, signal.SIGKILL)
    assert not (first / "COMPLETED").exists()
    assert not (output / "COMPLETED").exists()

    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "[1 of 1] blocks/seed0 trains for 6 steps" in said
    assert "blocks/seed0 done after" in said
    assert f"completed: {output} (1 of 1 runs done)" in said
    assert (output / "COMPLETED").exists()

    whole = tmp_path / "whole"
    assert cli.main([*command[:-1], str(whole), "--parallel", "2"]) == 0
    assert table(output) == table(whole)
    assert [row["status"] for row in table(whole)] == ["done"]
    for name in ("results.md", "report.html", "ablation.yaml"):
        assert (output / name).stat().st_size > 500
    capsys.readouterr()

    # The file that it leaves makes the same sweep: all is done already.
    assert cli.main(["ablate", "--config", str(output / "ablation.yaml"), *command[3:]]) == 0
    assert "1 of 1 runs are done already" in capsys.readouterr().out


# --- with commands that take no time -------------------------------------------------------------


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    fake_jepa.install(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jepa.ablation.masks_sheet.draw_masks_sheets", lambda sweep: None)
    return tmp_path


def prepare(site: Path, **more: object) -> list[str]:
    """The command of a sweep whose runs are made by the fake."""
    from jepa.ablation.plan import plan
    from jepa.ablation.settings import load_ablation
    from jepa.ablation.sources import with_samples

    config = written(site, **more)
    fake_jepa.prepare_answers(site, with_samples(plan(load_ablation(config), Path("out"))))
    return ["ablate", "--config", config, "--output", "out"]


def test_a_failed_run_is_a_row_and_the_exit_code(site, capsys):
    command = prepare(site, labels=["refused", "b"])
    assert cli.main(command) == 1
    said = capsys.readouterr()
    assert re.search(r"refused/seed0 failed after .*: config: 2 faults; a: wrong; b:", said.out)
    assert "b/seed0 done after" in said.out
    assert "jepa: 1 of 2 runs failed; the same command tries them again" in said.err
    assert "refused/seed0: config: 2 faults" in said.err
    rows = table(Path("out"))
    assert [(row["label"], row["status"]) for row in rows] == [("refused", "failed"), ("b", "done")]
    assert rows[0]["reason"] == "config: 2 faults; a: wrong; b: wrong"
    assert not Path("out/COMPLETED").exists()
    assert not Path("out/INTERRUPTED").exists()


def test_results_that_cannot_be_written_end_no_run(site, capsys, monkeypatch):
    command = prepare(site)
    from jepa.ablation import results

    write = results.write_results
    calls = []

    def refuse_once(sweep, outcomes):
        calls.append(1)
        if len(calls) == 1:
            raise OSError("No space left on device")
        return write(sweep, outcomes)

    monkeypatch.setattr(results, "write_results", refuse_once)
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert "jepa: the results are not written: No space left on device" in said.err
    assert [row["status"] for row in table(Path("out"))] == ["done", "done"]


def test_a_signal_saves_and_exits_0(site, capsys, monkeypatch):
    command = prepare(site, labels=["waits", "b"])
    from jepa.commands import ablate_texts

    def look(progress, running):
        if (Path("out") / "runs" / "waits" / "seed0" / "ready").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ablate_texts.Progress, "looks", look)
    assert cli.main(command) == 0
    assert "interrupted: out (0 of 2 runs done); the same command goes on" in (
        capsys.readouterr().out
    )
    assert Path("out/INTERRUPTED").exists()
    assert [row["status"] for row in table(Path("out"))] == ["stopped", "waiting"]


def test_a_misspelt_key_is_refused_before_anything_is_written(site, capsys):
    config = written(site, vary={"masks.0.min_kep": [4]}, labels=None)
    assert cli.main(["ablate", "--config", config, "--output", "out"]) == 2
    said = capsys.readouterr().err
    assert "vary.masks.0.min_kep[0]: masks.0.min_kep: unknown key" in said
    assert "did you mean 'min_keep'" in said
    assert not Path("out").exists()
    assert fake_jepa.said(site) == []


def test_a_dry_run_shows_all_and_writes_nothing(site, capsys):
    command = prepare(site, vary={"masks.0": [{"name": "multiblock", "min_keep": 4}]}, labels=["a"])
    before = sorted(site.rglob("*"))
    assert cli.main([*command, "--dry-run", "optim.lr=2e-3"]) == 0
    said = capsys.readouterr().out
    for words in ("a (reference)", "# a/seed0: waiting", "GFLOPs a sample", "optim.lr=2e-3"):
        assert words in said
    assert "jepa train --config image/quickstart --output out/runs/a/seed0" in said
    assert "jepa eval out/runs/a/seed0 --protocol knn" in said
    assert "1 variants x 1 seeds = 1 runs into out; nothing was trained" in said
    assert sorted(site.rglob("*")) == before


def test_a_sweep_s_folder_belongs_to_one(site, capsys):
    command = prepare(site)
    folder = RunFolder(Path("out"))
    folder.lock()
    assert cli.main(command) == 1
    assert "wait for it, or choose another with --output" in capsys.readouterr().err
    assert fake_jepa.said(site) == []


def test_help_imports_no_torch():
    code = (
        "import argparse, sys; from jepa.commands import ablate; "
        "ablate.configure(argparse.ArgumentParser()); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=LIMIT_S)
    assert done.returncode == 0
