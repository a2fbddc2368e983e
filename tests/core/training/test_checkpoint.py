import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from jepa.core.errors import CheckpointError
from jepa.core.training.checkpoint import (
    Checkpoint,
    checkpoints,
    newest_valid,
    prune,
    read_document,
    save,
    verify,
)

CONFIG = "train:\n  epochs: 3\n"


def save_step(folder: Path, step: int) -> Checkpoint:
    draw = torch.Generator().manual_seed(step)
    model = {"w": torch.randn(8, 5, generator=draw), "step": torch.tensor(step)}
    return save(
        folder,
        step,
        tensors={"model": model, "target": {"w": model["w"].t().bfloat16()}},
        documents={"config.yaml": CONFIG, "state.json": json.dumps({"step": step})},
    )


def damage(checkpoint: Checkpoint) -> None:
    path = checkpoint.tensor_file("model")
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints(folder)]


def no_leftovers(folder: Path) -> bool:
    return all(path.name.startswith("step_") for path in folder.iterdir())


def test_a_saved_checkpoint_is_valid_and_holds_what_was_given(tmp_path: Path) -> None:
    saved = save_step(tmp_path, 1000)
    assert saved.path.name == "step_00001000"
    assert sorted(path.name for path in saved.path.iterdir()) == [
        "config.yaml", "manifest.json", "model.safetensors", "state.json", "target.safetensors",
    ]  # fmt: skip
    assert verify(saved.path) == []
    assert newest_valid(tmp_path) == (saved, [])
    assert read_document(saved, "config.yaml") == CONFIG
    assert load_file(saved.tensor_file("model"))["step"].item() == 1000
    assert load_file(saved.tensor_file("target"))["w"].shape == (5, 8)
    assert no_leftovers(tmp_path)


def test_no_checkpoint_is_no_error(tmp_path: Path) -> None:
    assert newest_valid(tmp_path / "absent") == (None, [])
    assert newest_valid(tmp_path) == (None, [])


def test_steps_beyond_eight_digits_keep_their_order(tmp_path: Path) -> None:
    for step in (100_000_000, 99_999_999, 0):
        save_step(tmp_path, step)
    assert steps(tmp_path) == [0, 99_999_999, 100_000_000]
    newest, _ = newest_valid(tmp_path)
    assert newest is not None
    assert newest.step == 100_000_000


def test_a_document_that_is_absent_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"did you mean 'config\.yaml'"):
        read_document(save_step(tmp_path, 1), "config.yml")


def test_every_flipped_byte_and_truncation_is_noticed_and_passed_over(tmp_path: Path) -> None:
    older, newest = save_step(tmp_path, 1), save_step(tmp_path, 2)
    files = sorted(newest.path.iterdir())
    draw = np.random.default_rng(0)
    for trial in range(200):
        path = files[trial % len(files)]
        whole = path.read_bytes()
        place = int(draw.integers(len(whole)))
        if draw.random() < 0.5:
            changed = bytearray(whole)
            changed[place] ^= int(draw.integers(1, 256))
            path.write_bytes(changed)
        else:
            path.write_bytes(whole[:place])
        faults = verify(newest.path)
        assert any(fault.startswith(path.name) for fault in faults), (path.name, place)
        found, reports = newest_valid(tmp_path)
        assert found == older
        assert len(reports) == 1
        assert newest.path.name in reports[0]
        assert path.name in reports[0]
        path.write_bytes(whole)
    assert verify(newest.path) == []


def test_every_byte_of_the_manifest_counts(tmp_path: Path) -> None:
    saved = save_step(tmp_path, 1)
    path = saved.path / "manifest.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        # Another white space is the flip that JSON itself does not notice.
        changed[place] = ord("\t") if whole[place : place + 1].isspace() else whole[place] ^ 1
        path.write_bytes(changed)
        assert verify(saved.path), place


def _add_file(path: Path) -> None:
    (path / "notes.txt").write_text("mine")


def _add_folder(path: Path) -> None:
    (path / "sub").mkdir()


def _file_to_folder(path: Path) -> None:
    (path / "state.json").unlink()
    (path / "state.json").mkdir()


def _to_file(path: Path) -> None:
    shutil.rmtree(path)
    path.write_text("no folder")


def _other_step(path: Path) -> None:
    shutil.rmtree(path)
    shutil.copytree(path.with_name("step_00000001"), path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda path: (path / "state.json").unlink(), "state.json: missing"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: cannot be read"),
        (lambda path: (path / "manifest.json").write_text("[[[[" * 9999), "manifest.json: damaged"),
        (_add_file, "notes.txt: unexpected"),
        (_add_folder, "sub: unexpected"),
        (_file_to_folder, "state.json: "),
        (_to_file, "manifest.json: cannot be read"),
        (_other_step, "manifest.json: is of step 1"),
    ],
)
def test_other_damage_is_noticed(tmp_path: Path, change: Callable[[Path], Any], said: str) -> None:
    older, newest = save_step(tmp_path, 1), save_step(tmp_path, 2)
    change(newest.path)
    assert any(fault.startswith(said) for fault in verify(newest.path))
    found, reports = newest_valid(tmp_path)
    assert found == older
    assert len(reports) == 1


def test_nothing_valid_is_an_error_that_lists_each(tmp_path: Path) -> None:
    for step in (1, 2):
        damage(save_step(tmp_path, step))
    with pytest.raises(CheckpointError, match=r"(?s)step_00000002.*step_00000001.*digest"):
        newest_valid(tmp_path)


def test_the_same_step_again_is_kept_where_valid_and_replaced_where_damaged(tmp_path: Path) -> None:
    saved = save_step(tmp_path, 7)
    before = {path: path.stat().st_ino for path in saved.path.iterdir()}
    assert save_step(tmp_path, 7) == saved
    assert {path: path.stat().st_ino for path in saved.path.iterdir()} == before
    damage(saved)
    assert save_step(tmp_path, 7) == saved
    assert verify(saved.path) == []
    assert no_leftovers(tmp_path)


def test_leftovers_of_dead_processes_go_at_the_next_save(tmp_path: Path) -> None:
    leftover = tmp_path / ".tmp-step_00000001-123"
    leftover.mkdir()
    (leftover / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".tmp-removed-step_00000000-123").write_text("x")
    assert newest_valid(tmp_path) == (None, [])
    save_step(tmp_path, 1)
    assert no_leftovers(tmp_path)


def test_a_full_disk_is_noticed_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_step(tmp_path, 1)
    before = content_of(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(CheckpointError, match=r"needs 0\.001 GB, free are 0\.000 GB") as caught:
        save_step(tmp_path, 2)
    assert str(tmp_path) in str(caught.value)
    assert content_of(tmp_path) == before


FSYNCS_BEFORE_RENAME = 6  # four files, the manifest, the folder


@pytest.mark.parametrize("failing", range(FSYNCS_BEFORE_RENAME))
@pytest.mark.parametrize(
    ("raised", "seen"),
    [(OSError(28, "No space left on device"), CheckpointError), (KeyboardInterrupt(), None)],
    ids=["ENOSPC", "interrupt"],
)
def test_a_save_that_fails_leaves_everything_as_it_was(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
    raised: BaseException,
    seen: type[BaseException] | None,
) -> None:
    save_step(tmp_path, 1)
    before = content_of(tmp_path)
    calls = iter(range(100))
    sync = os.fsync

    def fsync(handle: int) -> None:
        if next(calls) == failing:
            raise raised
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(seen or type(raised), match=r"No space left|^$"):
            save_step(tmp_path, 2)
    assert next(calls) == failing + 1
    assert content_of(tmp_path) == before
    assert no_leftovers(tmp_path)
    assert save_step(tmp_path, 2).step == 2


@pytest.mark.parametrize(
    ("keep_last", "keep_every", "left"),
    [
        (1, None, [60]),
        (2, None, [50, 60]),
        (9, None, [10, 20, 30, 40, 50, 60]),
        (1, 20, [20, 40, 60]),
        (2, 30, [30, 50, 60]),
    ],
)
def test_prune_keeps_the_last_and_every_nth(
    tmp_path: Path, keep_last: int, keep_every: int | None, left: list[int]
) -> None:
    for step in range(10, 70, 10):
        save_step(tmp_path, step)
    removed = prune(tmp_path, keep_last, keep_every)
    assert steps(tmp_path) == left
    assert sorted([checkpoint.step for checkpoint in removed] + left) == list(range(10, 70, 10))
    assert all(not verify(checkpoint.path) for checkpoint in checkpoints(tmp_path))
    assert no_leftovers(tmp_path)


def test_prune_never_removes_the_only_valid_one(tmp_path: Path) -> None:
    saved = [save_step(tmp_path, step) for step in range(1, 6)]
    damage(saved[3])
    damage(saved[4])
    prune(tmp_path, 2, None)
    assert steps(tmp_path) == [3, 4, 5]
    found, _ = newest_valid(tmp_path)
    assert found == saved[2]


def test_prune_removes_nothing_where_nothing_is_valid(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        damage(save_step(tmp_path, step))
    assert prune(tmp_path, 1, None) == []
    assert steps(tmp_path) == [1, 2, 3]


def test_prune_that_is_stopped_leaves_no_half_removed_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3):
        save_step(tmp_path, step)

    def stopped(path: Path, **_: object) -> None:
        (path / "manifest.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stopped)
        with pytest.raises(KeyboardInterrupt):
            prune(tmp_path, 1, None)
    assert steps(tmp_path) == [2, 3]
    assert all(not verify(checkpoint.path) for checkpoint in checkpoints(tmp_path))
    save_step(tmp_path, 4)
    assert no_leftovers(tmp_path)


def test_prune_counts_no_damaged_one_that_lies_ahead(tmp_path: Path) -> None:
    """A resumed run passed them over; they must not push out those that it writes."""
    for step in (10, 20, 30):
        save_step(tmp_path, step)
    for step in (20, 30):
        (tmp_path / f"step_{step:08d}" / "manifest.json").write_text("damaged")
    for step in (12, 14, 16):
        prune(tmp_path, 2, None, trusted=save_step(tmp_path, step))
    assert [c.step for c in checkpoints(tmp_path)] == [14, 16, 20, 30]


def test_prune_trusts_the_one_just_written(tmp_path: Path) -> None:
    save_step(tmp_path, 1)
    newest = save_step(tmp_path, 2)
    (newest.path / "state.json").chmod(0)
    assert [c.step for c in prune(tmp_path, 1, None, trusted=newest)] == [1]


def test_nothing_is_pickled(tmp_path: Path) -> None:
    saved = save_step(tmp_path, 1)
    for path in saved.path.iterdir():
        if path.suffix == ".safetensors":
            load_file(path)
        else:
            path.read_text(encoding="utf-8")
