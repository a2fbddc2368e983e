"""`jepa health` on runs that train, are trained, and collapsed."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from jepa import cli
from jepa.core.config import load_run
from jepa.core.errors import TrainingError
from jepa.core.training import distributed, session

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "train={global_batch: 8, max_steps: 12, log_every: 2, device: cpu}",
]
EYES = "observers=[jsonl, {name: health, every: 2, probe: {every: 4, known: 40, asked: 20}}]"


def train(output, *overrides: str) -> None:
    config = load_run("image/quickstart", [*SMALL, *overrides])
    assert session.train(config, output, distributed.start("cpu")) == "completed"


def collapsed_run(folder) -> None:
    """What a collapsed run leaves, as the observer writes it."""
    folder.mkdir()
    with (folder / "metrics.jsonl").open("w") as out:
        for place in range(10):
            rank = 63.0 if place < 5 else 4.0
            record = {"step": max(1, 100 * place), "health/target_rank": rank}
            record |= {"health/target_std": 0.8, "health/loss": 0.2, "health/loss_mean": 0.4}
            out.write(json.dumps(record) + "\n")


def test_a_run_that_died_of_its_learning_rate_is_diverging(tmp_path, capsys):
    config = load_run(
        "image/quickstart",
        [*SMALL, "observers=[jsonl, health]", "train.max_bad_steps=4", "train.max_steps=200",
         "optim={lr: 1e30, start_lr: 1e30, warmup_epochs: 0}"],
    )  # fmt: skip
    with pytest.raises(TrainingError):
        session.train(config, tmp_path / "run", distributed.start("cpu"))
    assert cli.main(["health", "--strict", str(tmp_path / "run")]) == 1
    assert "diverging: the loss is not finite" in capsys.readouterr().out


def test_a_run_end_to_end(tmp_path, capsys):
    train(tmp_path / "run", EYES)
    assert cli.main(["health", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    told = json.loads((tmp_path / "run" / "health" / "health.json").read_text())
    assert told["step"] == 12
    assert said.startswith(f"step 12: {told['sentence']}")
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    measured = [record for record in records if "health/target_rank" in record]
    assert [record["step"] for record in measured] == [1, 2, 4, 6, 8, 10, 12]
    ranks = [record["health/target_rank"] for record in measured]
    expected = {"first": ranks[0], "best": max(ranks), "last": ranks[-1]}
    assert told["measures"]["target_rank"] == pytest.approx(expected)
    assert 0 <= told["measures"]["knn"]["last"] <= 1
    assert told["measures"]["knn_init"]["best"] is None
    for name in told["measures"]:
        assert f"\n {name} " in said
    assert min(Image.open(tmp_path / "run" / "health" / "health.png").size) > 500


def test_what_the_run_said_is_what_the_command_says(tmp_path):
    """The verdict of the last record is the one that is made again from the file."""
    train(tmp_path / "run", EYES)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert cli.main(["health", str(tmp_path / "run"), "--output", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "health.json").read_text())["sentence"] == last["status"]


def test_a_collapsed_run_is_told_and_strict_fails(tmp_path, capsys):
    collapsed_run(tmp_path / "run")
    assert cli.main(["health", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert said.startswith("step 900: collapsed: rank fell from 63 to 4; try ")
    told = json.loads((tmp_path / "run" / "health" / "health.json").read_text())
    assert told["alarm"] is True
    assert [turn["verdict"] for turn in told["history"]] == ["warming up", "learning", "collapsed"]
    assert cli.main(["health", str(tmp_path / "run"), "--strict"]) == 1


def test_a_run_that_is_being_written(tmp_path, capsys):
    collapsed_run(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as out:
        out.write('{"step": 1000, "health/targ')
    assert cli.main(["health", str(tmp_path / "run")]) == 0
    assert "step 900" in capsys.readouterr().out


def test_strict_lets_a_sound_run_pass(tmp_path):
    train(tmp_path / "run", EYES)
    assert cli.main(["health", str(tmp_path / "run"), "--strict"]) == 0


def test_a_run_that_nobody_watched_is_an_error(tmp_path, capsys):
    train(tmp_path / "run", "observers=[jsonl]")
    assert cli.main(["health", str(tmp_path / "run")]) == 1
    said = capsys.readouterr().err
    assert "the observer 'health' was off" in said
    assert not (tmp_path / "run" / "health").exists()


def test_a_folder_that_is_no_run_is_an_error(tmp_path, capsys):
    assert cli.main(["health", str(tmp_path)]) == 1
    assert "metrics.jsonl: cannot be read: No such file" in capsys.readouterr().err


def test_a_narrow_terminal_cuts_no_name(tmp_path, monkeypatch, capsys):
    collapsed_run(tmp_path / "run")
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main(["health", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "target_rank" in said
    assert "directions that target tokens use (RankMe)" in said
    assert "…" not in said


def test_help_imports_no_torch():
    code = (
        "import argparse, sys; from jepa.commands import health; "
        "health.configure(argparse.ArgumentParser()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
