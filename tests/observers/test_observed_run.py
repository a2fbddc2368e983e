"""Whole runs of `jepa train` with every observer."""

import json
import shutil

import pytest
from tensorboard.backend.event_processing.event_accumulator import IMAGES, EventAccumulator

from jepa import cli

SMALL = [
    "model.dim=32",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.predictor={name: vit, depth: 1, dim: 32, heads: 2}",
    "train.global_batch=8",
    "train.log_every=2",
    "data.workers=0",
    "checkpoint.every=4",
]
ALL = (
    "observers=[{name: progress, every_s: 0}, jsonl, {name: tensorboard, pictures_every: 3}, "
    "{name: health, every: 3, probe: {every: 4, known: 40, asked: 20}}]"
)


def train(output, steps: int, observers: str) -> None:
    settings = [*SMALL, f"train.max_steps={steps}", observers]
    command = ["train", "--config", "image/quickstart", "--output", str(output), *settings]
    assert cli.main(command) == 0


def weights(output, step: int) -> bytes:
    return (output / "checkpoints" / f"step_{step:08d}" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_observers_see_each_step_once_and_change_nothing(tmp_path, capsys):
    seen, unseen = tmp_path / "seen", tmp_path / "unseen"
    train(seen, steps=6, observers=ALL)
    shutil.rmtree(seen / "checkpoints" / "step_00000006")  # as if killed between 4 and 6
    capsys.readouterr()
    train(seen, steps=10, observers=ALL)
    said = capsys.readouterr().out
    train(unseen, steps=10, observers="observers=[]")

    assert weights(seen, 10) == weights(unseen, 10)
    assert "resumed at step 4 of 10" in said
    assert "step 10/10  epoch" in said

    records = [json.loads(line) for line in (seen / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3, 4, 6, 8, 9, 10]
    spread = [record["step"] for record in records if "health/target_rank" in record]
    assert spread == [1, 3, 6, 9, 10]

    probed = [record["step"] for record in records if "health/knn" in record]
    assert probed == [4, 8, 10]
    assert ["health/knn_init" in record for record in records] == [True] + 7 * [False]

    board = EventAccumulator(str(seen / "tensorboard"), size_guidance={IMAGES: 0}).Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [2, 4, 6, 8, 10]
    assert [event.step for event in board.Scalars("health/context_std")] == spread
    assert [event.step for event in board.Images("masks")] == [0, 3, 6, 9]
    logged = {name for record in records for name in record} - {
        "step",
        "epoch",
        "time",
        "notes",
        "status",
    }
    assert set(board.Tags()["scalars"]) == logged
