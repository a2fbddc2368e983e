"""`jepa report` on a real run of two steps."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from jepa.commands import report
from jepa.core.config import load_run
from jepa.core.errors import CheckpointError, ConfigError, DataError
from jepa.core.training import distributed, session

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "observers=[jsonl]",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu}",
]


def train(output, *overrides: str) -> None:
    config = load_run("image/quickstart", [*SMALL, *overrides])
    assert session.train(config, output, distributed.start("cpu")) == "completed"


def jepa_report(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    report.configure(parser)
    return report.run(parser.parse_args(argv))


def test_table_numbers_and_pictures(tmp_path, capsys):
    train(tmp_path / "run")
    few = ["--train-samples", "200", "--test-samples", "100"]
    assert jepa_report(str(tmp_path / "run"), *few, "--output", str(tmp_path / "out")) == 0
    said = capsys.readouterr().out
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert told["step"] == 2
    rows = told["probes"]["rows"]
    assert [(row["protocol"], row["features"]) for row in rows] == [
        (protocol, features)
        for protocol in ("knn", "logistic")
        for features in ("trained", "random init", "raw baseline")
    ]
    assert rows[2]["score"]["value"] > 0.4  # pixels of clothes tell clothes apart
    for row in rows:
        assert f"{100 * row['score']['value']:.1f}%" in said
    assert sorted(told["pictures"]) == ["loss_curve.png", "masks.png", "pca.png"]
    for name in told["pictures"]:
        assert str(tmp_path / "out" / name) in said.replace("\n", "")
        assert min(Image.open(tmp_path / "out" / name).size) > 200


def test_without_labels_it_says_so_and_draws(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for place in range(12):
        Image.new("L", (28, 28), 20 * place).save(pictures / f"{place}.png")
    train(
        tmp_path / "run",
        "data.source=folder",
        f"data.root={pictures}",
        f"data.cache={tmp_path / 'cache'}",
        "observers=[]",
    )
    assert jepa_report(str(tmp_path / "run" / "checkpoints" / "step_00000002")) == 0
    said = capsys.readouterr().out
    assert "no probes" in said
    assert "no loss curve" in said
    told = json.loads((tmp_path / "run" / "report" / "report.json").read_text())
    assert told["probes"] is None
    assert told["pictures"] == ["pca.png", "masks.png"]


def test_samples_that_moved_are_named(tmp_path, capsys):
    draw = np.random.default_rng(0)
    for split, number in (("train", 12), ("test", 6)):
        for place in range(number):
            folder = tmp_path / "data" / split / "abc"[place % 3]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = draw.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    run = tmp_path / "run"
    where = ["data.source=class_folders", f"data.cache={tmp_path / 'cache'}", "data.split=train"]
    train(run, *where, f"data.root={tmp_path / 'data'}")
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(DataError, match="no such file"):
        jepa_report(str(run))
    capsys.readouterr()
    assert jepa_report(str(run), f"data.root={tmp_path / 'moved'}", "--train-samples", "2") == 0
    assert "6 test samples of 3 classes" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ConfigError, match=r"found model.dim=8, allowed.*data.key=value"):
        jepa_report(str(run), "model.dim=8")


def test_a_split_that_is_asked_for_must_be_there(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(DataError, match="found 'foo', allowed: test, train"):
        jepa_report(str(tmp_path / "run"), "--train-split", "foo")
    assert not (tmp_path / "run" / "report" / "report.json").exists()


def test_a_narrow_terminal_cuts_no_name(tmp_path, monkeypatch, capsys):
    train(tmp_path / "run")
    monkeypatch.setenv("COLUMNS", "40")
    few = ["--train-samples", "40", "--test-samples", "20"]
    assert jepa_report(str(tmp_path / "run"), *few) == 0
    said = capsys.readouterr().out
    for words in ("knn", "logistic", "random init", "raw baseline", "trained is ahead by"):
        assert words in said
    assert "…" not in said


def test_a_relative_path_inside_a_run(tmp_path, monkeypatch):
    train(tmp_path / "run", "data.source=fashion_mnist")
    monkeypatch.chdir(tmp_path / "run" / "checkpoints" / "step_00000002")
    few = ["--train-samples", "40", "--test-samples", "20"]
    assert jepa_report(".", *few) == 0
    assert (tmp_path / "run" / "report" / "loss_curve.png").exists()


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint in it"):
        jepa_report(str(tmp_path))


def test_help_imports_no_torch():
    code = (
        "import argparse, sys; from jepa.commands import report; "
        "report.configure(argparse.ArgumentParser()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
