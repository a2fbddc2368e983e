"""A run's folder: what may go on in it, and data that are damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_run import ALONE, checkpoint_steps, exact, marks, records, tiny, train, weights

from jepa.core.errors import CheckpointError, DataError, JepaError, TrainingError
from jepa.core.training import precision, session, state
from jepa.core.training.fixed import Fixed
from jepa.core.training.runfolder import RunFolder
from jepa.observers.jsonl import Jsonl

PICTURES = 40
CORRUPT = (3, 17, 31)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small pictures, three of them damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for number in range(PICTURES):
        path = folder / f"{number:03d}.png"
        Image.fromarray(draw.integers(0, 256, (28, 28), dtype=np.uint8)).save(path)
        if number in CORRUPT:
            path.write_bytes(path.read_bytes()[:60])
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with checkpoints of 2 and 4."""
    output = tmp_path_factory.mktemp("trained") / "run"
    train(output, "train.max_steps=4", "checkpoint.every=2")
    return output


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return shutil.copytree(trained, tmp_path / "run")


GO_ON = ("train.max_steps=6", "checkpoint.every=2")


def from_folder(pictures: Path) -> tuple[str, ...]:
    return ("data.source={name: folder}", f"data.root={pictures}", "optim.warmup_epochs=0")


# --- what may go on -----------------------------------------------------------------------------


def test_a_run_keeps_the_precision_that_it_began_with(tmp_path, monkeypatch, capsys):
    """`auto` looks at the machine and at each process's share, and both may change."""
    auto = ("train.precision=auto", "train.max_steps=4", "train.epochs=1", "optim.warmup_epochs=0")
    for numbers in ("bf16", "fp32"):
        output = tmp_path / numbers
        monkeypatch.setattr(precision, "resolve", lambda *_, numbers=numbers, **how: numbers)
        train(tmp_path / "whole", *auto)
        train(output, *auto, "train.max_steps=2")
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(precision, "resolve", lambda *_, **how: "fp32")
        train(output, *auto)
        assert weights(output, 4) == weights(tmp_path / "whole", 4)
        assert ("the run began in bf16" in capsys.readouterr().err) == (numbers == "bf16")
        shutil.rmtree(tmp_path / "whole")


def test_a_config_that_differs_is_refused_with_its_keys(run):
    before = weights(run, 4)
    with pytest.raises(CheckpointError) as caught:
        train(run, *GO_ON, "optim.lr=0.002", "model.encoder.depth=2")
    assert "optim.lr: 0.001 -> 0.002" in str(caught.value)
    assert "model.encoder.depth: 1 -> 2" in str(caught.value)
    assert "--allow-config-change" in str(caught.value)
    assert "train.max_steps" not in str(caught.value)
    # Nothing was touched.
    assert (checkpoint_steps(run), marks(run)) == ([2, 4], {"COMPLETED"})
    assert weights(run, 4) == before

    assert train(run, *GO_ON, "optim.lr=0.002", allow_config_change=True) == "completed"
    assert checkpoint_steps(run) == [4, 6]
    assert records(run)[-1]["step"] == 6


def test_a_run_that_went_further_is_not_called_completed(run):
    before = weights(run, 4)
    with pytest.raises(CheckpointError, match="holds a run of 4 steps already, more than the 3"):
        train(run, "train.max_steps=3")
    assert weights(run, 4) == before


def test_keys_that_cannot_change_a_step_are_free(run):
    free = ("checkpoint.every=3", "data.workers=1", "train.log_every=2", "train.max_bad_steps=7")
    assert train(run, "train.max_steps=6", *free) == "completed"
    assert [r["step"] for r in records(run)] == [1, 2, 3, 4, 6]


def test_a_finished_run_stays_finished(run):
    before = weights(run, 4), (run / "metrics.jsonl").read_bytes()
    assert train(run, "train.max_steps=4", "checkpoint.every=2") == "completed"
    assert (weights(run, 4), (run / "metrics.jsonl").read_bytes()) == before
    assert marks(run) == {"COMPLETED"}


def test_other_data_are_refused(pictures, tmp_path):
    data = shutil.copytree(pictures, tmp_path / "data")
    settings = (*from_folder(data), "data.max_bad_fraction=0.2", *GO_ON)
    train(tmp_path / "run", *settings)
    shutil.copy(data / "000.png", data / "zzz.png")
    with pytest.raises(CheckpointError, match="data: 40 samples -> 41 samples"):
        train(tmp_path / "run", *settings)
    (data / "zzz.png").unlink()
    assert train(tmp_path / "run", *settings) == "completed"


def test_the_folder_of_the_data_may_move(pictures, tmp_path):
    settings = ("data.max_bad_fraction=0.2", *GO_ON)
    train(tmp_path / "run", *from_folder(pictures), *settings)
    moved = shutil.copytree(pictures, tmp_path / "moved")
    assert train(tmp_path / "run", *from_folder(moved), *settings) == "completed"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_damaged_newest_checkpoint_is_reported_and_passed_over(trained, run, capsys):
    flip(run / "checkpoints" / "step_00000004" / "model.safetensors")
    assert train(run, "train.max_steps=4", "checkpoint.every=2") == "completed"
    said = capsys.readouterr().err
    assert "step_00000004 is damaged" in said
    assert "passed over" in said
    assert weights(run, 4) == weights(trained, 4)
    assert exact(run) == exact(trained)


def test_nothing_starts_anew_where_all_checkpoints_are_damaged(run):
    for step in (2, 4):
        flip(run / "checkpoints" / f"step_{step:08d}" / "optimizer.safetensors")
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is valid") as caught:
        train(run, *GO_ON)
    assert "step_00000002" in str(caught.value)
    assert "step_00000004" in str(caught.value)
    assert checkpoint_steps(run) == [2, 4]
    assert (run / "metrics.jsonl").read_bytes() == before


def test_two_runs_cannot_train_into_one_folder(run):
    holder = RunFolder(run)
    holder.lock()
    with pytest.raises(TrainingError, match=f"process {os.getpid()} on .* trains into this"):
        train(run, *GO_ON)
    assert marks(run) == {"COMPLETED"}
    holder.unlock()
    assert train(run, *GO_ON) == "completed"


def test_a_refused_run_gives_the_folder_back(run):
    with pytest.raises(CheckpointError):
        train(run, *GO_ON, "optim.lr=0.002")
    assert train(run, *GO_ON) == "completed"


def test_too_few_samples_are_refused_before_anything_is_written(pictures, tmp_path):
    with pytest.raises(DataError, match=r"lower train\.global_batch from 64 to 40"):
        train(tmp_path / "run", *from_folder(pictures), "train.global_batch=64", *GO_ON)
    assert not (tmp_path / "run").exists()


# --- checkpoints --------------------------------------------------------------------------------


def test_checkpoints_come_when_due_and_old_ones_go(tmp_path):
    kept = ("checkpoint.every=2", "checkpoint.keep_last=2", "checkpoint.keep_every=4")
    train(tmp_path, "train.max_steps=11", *kept)
    assert checkpoint_steps(tmp_path) == [4, 8, 10, 11]


def test_a_checkpoint_an_epoch_is_the_default(tmp_path):
    every = ("checkpoint.every=null", "train.steps_per_epoch=3", "checkpoint.keep_last=9")
    train(tmp_path, "train.max_steps=7", *every)
    assert checkpoint_steps(tmp_path) == [3, 6, 7]


def test_a_place_that_is_no_folder_is_refused_before_the_first_step(tmp_path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(JepaError, match="cannot hold checkpoints"):
        train(tmp_path, "train.max_steps=2")
    assert records(tmp_path) == []


def test_a_full_disk_stops_the_run_and_loses_nothing(run, monkeypatch):
    before = weights(run, 4)
    full = shutil.disk_usage(run)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(JepaError, match="no room for a checkpoint"):
        train(run, *GO_ON)
    # It may fill up while the run goes on.
    monkeypatch.setattr(state, "check_place", lambda *_: None)
    with pytest.raises(JepaError, match="no room for the checkpoint of step 6"):
        train(run, *GO_ON)
    assert (checkpoint_steps(run), weights(run, 4)) == ([2, 4], before)
    monkeypatch.undo()
    assert train(run, *GO_ON) == "completed"
    assert checkpoint_steps(run) == [4, 6]


# --- damaged samples ----------------------------------------------------------------------------


def listed(output: Path) -> list[dict[str, object]]:
    lines = (output / "bad_samples.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_damaged_pictures_are_replaced_and_listed(pictures, tmp_path):
    settings = (*from_folder(pictures), "data.max_bad_fraction=0.2", "train.max_steps=12")
    for workers in (0, 2):
        output = tmp_path / str(workers)
        assert train(output, *settings, f"data.workers={workers}") == "completed"
    bad = listed(tmp_path / "0")
    assert sorted(line["name"].rsplit("/")[-1] for line in bad) == ["003.png", "017.png", "031.png"]
    assert all(line["replaced_by"] not in CORRUPT for line in bad)
    assert records(tmp_path / "0")[-1]["data/bad_samples"] == 3
    assert listed(tmp_path / "2") == bad
    assert weights(tmp_path / "2", 12) == weights(tmp_path / "0", 12)
    assert exact(tmp_path / "2") == exact(tmp_path / "0")


def test_the_list_is_cut_back_with_the_run(pictures, tmp_path):
    settings = (*from_folder(pictures), "data.max_bad_fraction=0.2", "checkpoint.every=1")
    train(tmp_path / "whole", *settings, "train.max_steps=10")
    train(tmp_path / "run", *settings, "train.max_steps=10", "checkpoint.keep_last=20")
    for step in range(2, 11):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / f"step_{step:08d}")
    train(tmp_path / "run", *settings, "train.max_steps=10")
    assert listed(tmp_path / "run") == listed(tmp_path / "whole")
    assert weights(tmp_path / "run", 10) == weights(tmp_path / "whole", 10)


def test_too_many_damaged_pictures_stop_the_run(pictures, tmp_path):
    settings = (*from_folder(pictures), "train.max_steps=12", "checkpoint.every=1")
    with pytest.raises(DataError, match="samples cannot be decoded") as caught:
        train(tmp_path, *settings, "data.max_bad_fraction=0.05")
    assert "data.max_bad_fraction allows 5.0%" in str(caught.value)
    assert "bad_samples.jsonl" in str(caught.value)
    assert len(listed(tmp_path)) == 3
    assert not marks(tmp_path)


def test_a_set_of_damaged_pictures_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(30):
        (tmp_path / "data" / f"{number:02d}.png").write_bytes(b"damaged")
    with pytest.raises(DataError, match="20 samples in a row cannot be decoded") as caught:
        train(tmp_path / "run", *from_folder(tmp_path / "data"), "train.max_steps=2")
    assert str(caught.value).count(".png: DecodeError") == 3


def test_the_fixed_batch_is_spread_and_passes_over_damage(tmp_path):
    """Sources often stand class by class, and the first files may be the damaged ones."""
    (tmp_path / "data").mkdir()
    for number in range(40):
        path = tmp_path / "data" / f"{number:02d}.png"
        Image.new("L", (28, 28), number).save(path)
    config = tiny(*from_folder(tmp_path / "data"), "train.max_steps=2")
    built, source, _ = session.prepare(config, ALONE)
    parts = config, source, lambda: None, built.modality, built.samplers, torch.device("cpu")
    fixed = Fixed(*parts)
    assert fixed().inputs[:, 0, 0, 0].tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    for number in range(0, 20, 5):
        (tmp_path / "data" / f"{number:02d}.png").write_bytes(b"damaged")
    fixed = Fixed(*parts)
    assert fixed().inputs[:, 0, 0, 0].tolist() == [20, 25, 30, 35, 1, 2, 3, 4]
    for number in range(20, 40, 5):
        (tmp_path / "data" / f"{number:02d}.png").write_bytes(b"damaged")
    fixed = Fixed(*parts)
    assert fixed().inputs[:, 0, 0, 0].tolist() == [1, 2, 3, 4, 6, 7, 8, 9]


# --- a disk or a memory that is full ------------------------------------------------------------


def test_a_full_disk_is_said_with_the_observer_that_met_it(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Jsonl, "record", refused)
    monkeypatch.setattr(Jsonl, "finish", refused)
    with pytest.raises(TrainingError, match=r"the observer 'jsonl' failed: .* No space left"):
        train(tmp_path, "train.max_steps=2")
    assert not marks(tmp_path)


def test_a_model_that_does_not_fit_is_said_before_the_first_step(tmp_path, monkeypatch):
    def refused(*_):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    for place in ("jepa.core.training.session.build", "jepa.core.training.trainer.Optimizer"):
        with monkeypatch.context() as patch:
            patch.setattr(place, refused)
            with pytest.raises(TrainingError, match=r"out of memory before the first step.*preset"):
                train(tmp_path, "train.max_steps=2")
