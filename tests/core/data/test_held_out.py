"""Which samples count as held out, and which must not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from jepa.core.build import make_modality
from jepa.core.config import load_run
from jepa.core.data.held_out import HeldOut, held_out
from jepa.core.data.opening import open_source
from jepa.core.training.distributed import World
from jepa.core.training.fixed import Fixed
from jepa.core.training.session import prepare

ALONE = World(0, 1, torch.device("cpu"))


def found(*overrides: str) -> HeldOut | None:
    config = load_run("image/quickstart", overrides)
    modality = make_modality(config)
    return held_out(config.data, modality, open_source(config.data, modality))


def folders(root: Path, *names: str) -> str:
    for place, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(10):
            Image.new("L", (28, 28), 20 * place + number).save(root / name / f"{number}.png")
    return f"data.root={root}"


def test_a_source_with_splits_of_its_own_has_a_test_split():
    held = found()
    assert held.split == "test"
    assert len(held.source) == 2000


def test_the_other_split_is_not_the_runs_own(tmp_path):
    assert found("data.split=test") is None
    root = folders(tmp_path, "train", "test", "val")
    where = ["data.source=folder", root, f"data.cache={tmp_path / 'cache'}"]
    assert found(*where, "data.split=train").split == "test"
    assert found(*where, "data.split=test").split == "val"


def test_val_stands_in_for_test(tmp_path):
    root = folders(tmp_path, "train", "val")
    where = ["data.source=folder", root, f"data.cache={tmp_path / 'cache'}"]
    assert found(*where, "data.split=train").split == "val"


def test_a_run_on_everything_holds_nothing_out(tmp_path):
    """Without a split the folder `test` is trained on like the rest."""
    root = folders(tmp_path, "train", "test")
    assert found("data.source=folder", root, f"data.cache={tmp_path / 'cache'}") is None


def test_a_source_without_splits_has_none(tmp_path):
    np.save(tmp_path / "samples.npy", np.zeros((20, 28, 28), np.uint8))
    assert found("data.source=arrays", f"data.root={tmp_path / 'samples.npy'}") is None


@pytest.mark.parametrize("split", ["train", None])
def test_the_fixed_batch_is_held_out_where_it_can_be(tmp_path, split):
    """Pictures of `train` are darker than 20, those of `test` are not."""
    root = folders(tmp_path, "train", "test")
    config = load_run(
        "image/quickstart",
        [
            *("data.source=folder", root, f"data.cache={tmp_path / 'cache'}"),
            *("train.global_batch=4", "train.max_steps=1", "train.device=cpu"),
            *([f"data.split={split}"] if split else []),
        ],
    )
    built, source, _ = prepare(config, ALONE)
    held = held_out(config.data, built.modality, source)
    fixed = Fixed(config, source, lambda: held, built.modality, built.samplers, ALONE.device)
    levels = fixed().inputs.flatten(1)[:, 0]
    assert len(levels) == 4
    if split == "train":
        assert levels.min() >= 20
    else:
        assert levels.min() < 20 <= levels.max()


def test_damaged_held_out_samples_do_not_end_a_run(tmp_path):
    root = folders(tmp_path, "train", "test")
    for path in (tmp_path / "test").iterdir():
        path.write_bytes(b"damaged")
    where = ["data.source=folder", root, f"data.cache={tmp_path / 'cache'}", "data.split=train"]
    config = load_run("image/quickstart", [*where, "train.global_batch=4", "train.device=cpu"])
    built, source, _ = prepare(config, ALONE)
    held = held_out(config.data, built.modality, source)
    fixed = Fixed(config, source, lambda: held, built.modality, built.samplers, ALONE.device)
    assert fixed().inputs.max() < 20
