"""A run on a moving camera from end to end, by the commands: no labelled clip is needed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jepa import cli

SETTINGS = (
    "model.dim=16",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "model.target.layers=1",
    "data.workers=0",
    "data.source.clips=null",
    "optim.warmup_epochs=0",
    "observers=[jsonl]",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu, precision: fp32}",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs, train/ and test/."""
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 16)):
        (root / split).mkdir()
        for number in range(count):
            coarse = draw.integers(0, 256, (6, 7, 3), dtype=np.uint8)
            picture = Image.fromarray(coarse).resize((56, 48), Image.Resampling.BICUBIC)
            picture.save(root / split / f"{number}.jpg")
    return root


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    told = ["train", "--config", "video/quickstart", "--output", str(folder), *SETTINGS]
    assert cli.main([*told, f"data.root={data}", f"data.cache={data / 'cache'}"]) == 0
    return folder


def evaluated(run: Path, output: Path, *arguments: str) -> list[dict]:
    told = ["eval", str(run), "--output", str(output), *arguments]
    assert cli.main(told) == 0
    (written,) = output.glob("*.json")
    found = json.loads(written.read_text())
    assert (found["train_samples"], found["test_samples"]) == (40, 16)
    return found["rows"]


def test_the_quickstart_trains(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert len(losses) == 2
    assert np.isfinite(losses).all()


def test_probes_ask_which_way_and_how_fast(run, tmp_path):
    rows = evaluated(run, tmp_path / "way", "--protocol", "logistic")
    assert {row["metric"] for row in rows} == {"accuracy"}
    rows = evaluated(run, tmp_path / "speed", "--protocol", "dense", "predict=speed", "cells=1")
    assert [row["features"] for row in rows] == ["trained", "random init", "raw baseline"]
    assert {row["metric"] for row in rows} == {"mean absolute error of speed"}
    # All speeds lie within the settings' range, so a guess of the mean is off by less than it.
    assert all(0 < row["score"]["value"] < 0.1 for row in rows)


def test_other_settings_make_another_test(run, data, tmp_path):
    """A probe may ask about slower clips than the encoder was trained on."""
    slower = "{speed: [0.02, 0.04], split: test}"
    told = ["eval", str(run), "--output", str(tmp_path / "slow"), "--protocol", "logistic"]
    assert cli.main([*told, "--test", slower, f"data.root={data}"]) == 0
