"""`jepa train` in this process: arguments, --dry-run, exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jepa import cli
from jepa.core.training.runfolder import RunFolder
from jepa.core.training.signals import StopRequest

TINY = (
    "model.dim=16",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "train.global_batch=8",
    "train.max_steps=2",
    "train.device=cpu",
    "data.workers=0",
    "observers=[{name: jsonl}]",
)


def jepa_train(*arguments: str) -> int:
    return cli.main(["train", "--config", "image/quickstart", *arguments, *TINY])


def test_a_run_and_the_same_command_again(tmp_path, capsys):
    output = tmp_path / "runs" / "first"
    assert jepa_train("--output", str(output)) == 0
    assert capsys.readouterr().out == f"completed: {output}\n"
    assert (output / "COMPLETED").exists()
    assert jepa_train("--output", str(output)) == 0


def test_the_output_folder_has_the_name_of_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert jepa_train() == 0
    assert (tmp_path / "runs" / "quickstart" / "COMPLETED").exists()


def test_a_dry_run_checks_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JEPA_CACHE", str(tmp_path / "cache"))
    assert jepa_train("--dry-run") == 0
    assert list(tmp_path.iterdir()) == []
    said = capsys.readouterr().out
    for words in (
        "8000 samples (fashion_mnist)",
        "7 x 7",
        "49 tokens",
        "2, 1000 an epoch",
        "runs/quickstart",
    ):
        assert words in said
    assert "8 samples = 1 (processes) x 1 (micro-steps) x 8" in said


def test_a_dry_run_leaves_a_run_as_it_is(tmp_path, capsys):
    output = tmp_path / "run"
    assert jepa_train("--output", str(output)) == 0

    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in output.rglob("*")}

    before = state()
    assert jepa_train("--output", str(output), "--dry-run") == 0
    assert state() == before
    assert "(goes on)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "code", "words"),
    [
        (["model.encoder.depht=2"], 2, "did you mean 'depth'"),
        (["train.global_batch=9", "train.accumulate=2"], 2, "8 or 10"),
        (["optim.warmup_epochs=99"], 2, "optim.warmup_epochs: found 99 epochs"),
        (["data.source={name: folder}", "data.root=/nowhere"], 1, "/nowhere"),
        (["data.source={name: folder}"], 1, "JEPA_DATA"),
        (["data.root=/mine"], 2, "the source 'fashion_mnist' brings its own samples"),
        (["train.global_batch=9000"], 1, "lower train.global_batch from 9000 to 8000"),
        (["--modality", "sound"], 2, "--modality says 'sound'"),
    ],
)
def test_a_dry_run_finds_what_is_wrong(tmp_path, monkeypatch, capsys, wrong, code, words):
    monkeypatch.delenv("JEPA_DATA", raising=False)
    found = cli.main(
        [
            *("train", "--config", "image/quickstart", "--dry-run"),
            *("--output", str(tmp_path / "run"), *TINY, *wrong),
        ]
    )
    assert found == code
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_another_config_needs_a_word(tmp_path, capsys):
    output = ["--output", str(tmp_path / "run")]
    assert jepa_train(*output) == 0
    capsys.readouterr()
    assert jepa_train(*output, "optim.lr=0.002", "train.max_steps=3") == 1
    assert "optim.lr: 0.001 -> 0.002" in capsys.readouterr().err
    assert jepa_train(*output, "optim.lr=0.002", "--allow-config-change") == 0


def test_the_second_run_hears_who_holds_the_folder(tmp_path, capsys):
    holder = RunFolder(tmp_path)
    holder.lock()
    assert jepa_train("--output", str(tmp_path)) == 1
    assert "trains into this folder" in capsys.readouterr().err
    holder.unlock()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_that_comes_while_data_are_opened_counts(tmp_path, monkeypatch, capsys, number):
    from jepa.core.training import session

    prepare = session.prepare

    def interrupted(*arguments):
        signal.raise_signal(number)
        return prepare(*arguments)

    monkeypatch.setattr(session, "prepare", interrupted)
    handler = signal.getsignal(number)
    assert jepa_train("--output", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"interrupted: {tmp_path}\n"
    assert (tmp_path / "INTERRUPTED").exists()
    assert not (tmp_path / "COMPLETED").exists()
    assert (tmp_path / "checkpoints" / "step_00000001").exists()
    assert signal.getsignal(number) == handler

    monkeypatch.undo()
    assert jepa_train("--output", str(tmp_path)) == 0
    assert (tmp_path / "COMPLETED").exists()
    assert not (tmp_path / "INTERRUPTED").exists()


def test_a_second_interrupt_acts_at_once():
    with StopRequest() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.received == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("wrong", [("--output", ""), ("--nproc", "0"), ("--config", "")])
def test_arguments_that_say_nothing_are_refused(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        jepa_train(*wrong)
    assert wrong[0] in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_when_nobody_reads_its_lines_any_more(tmp_path):
    """`jepa train | tee log`, and tee dies: nothing of the run may be lost."""
    talkative = (
        "train.max_steps=40",
        "train.log_every=1",
        "observers=[{name: progress, every_s: 0}]",
    )
    command = [sys.executable, "-m", "jepa", "train", "--config", "image/quickstart"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "run"), *TINY, *talkative],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("step 1/40")
        process.stdout.close()
        said = process.stderr.read()
        assert process.wait() == 0, said
    assert "Traceback" not in said
    assert (tmp_path / "run" / "COMPLETED").exists()
    assert (tmp_path / "run" / "checkpoints" / "step_00000040").exists()


def test_what_the_system_refuses_is_one_line(tmp_path, monkeypatch, capsys):
    from jepa.core.training import session

    def refused(*_, **__):
        raise OSError(27, "File too large", str(tmp_path / "events"))

    monkeypatch.setattr(session, "train", refused)
    assert jepa_train("--output", str(tmp_path / "run")) == 1
    assert capsys.readouterr().err == f"jepa: [Errno 27] File too large: '{tmp_path / 'events'}'\n"


def test_each_machine_says_a_wrong_config_once(monkeypatch, capsys):
    wrong = ["model.encoder.depht=2"]
    for rank, local, said in (("0", "0", True), ("1", "1", False), ("2", "0", True)):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", local)
        assert jepa_train(*wrong) == 2
        assert ("did you mean 'depth'" in capsys.readouterr().err) == said
