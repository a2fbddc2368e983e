import copy
from pathlib import Path
from typing import Any

import pytest

from jepa.core.config import apply_override, load_run, to_yaml
from jepa.core.errors import CheckpointError
from jepa.core.settings import unstructure
from jepa.core.training.checkpoint import Checkpoint, save
from jepa.core.training.resume import config_differences

CONFIG: dict[str, Any] = {
    "modality": {"name": "image", "size": [224, 224]},
    "data": {
        "source": {"name": "folder"},
        "root": "/data/a",
        "split": None,
        "workers": "auto",
        "prefetch": 4,
        "max_bad_fraction": 0.01,
        "cache": None,
    },
    "model": {"encoder": {"name": "vit", "depth": 12}},
    "masks": [{"name": "multiblock", "target_scale": [0.15, 0.2]}],
    "train": {
        "global_batch": 64,
        "epochs": 3.0,
        "max_steps": None,
        "log_every": 10,
        "max_bad_steps": 20,
        "seed": 0,
    },
    "optim": {"lr": 1e-3},
    "checkpoint": {"every": None, "keep_last": 2},
    "observers": [],
}


def saved(folder: Path, config: dict[str, Any]) -> Checkpoint:
    return save(folder, 5, tensors={}, documents={"config.yaml": to_yaml(config)})


def changed(*overrides: str) -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    for override in overrides:
        config = apply_override(config, override)
    return config


def test_the_same_config_differs_in_nothing(tmp_path: Path) -> None:
    assert config_differences(saved(tmp_path, CONFIG), CONFIG) == []


@pytest.mark.parametrize(
    "override",
    [
        "data.root=/elsewhere",
        "data.workers=0",
        "data.prefetch=1",
        "data.cache=/tmp/cache",
        "data.max_bad_fraction=0.5",
        "checkpoint.every=7",
        "checkpoint.keep_last=9",
        "observers=[{name: progress, every: 3}]",
        "train.log_every=1",
        "train.max_bad_steps=1",
        "train.max_steps=100",
    ],
)
def test_what_cannot_change_the_weights_is_free(tmp_path: Path, override: str) -> None:
    assert config_differences(saved(tmp_path, CONFIG), changed(override)) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optim.lr=1e-4", "optim.lr: 0.001 -> 0.0001"),
        ("train.seed=1", "train.seed: 0 -> 1"),
        ("train.global_batch=128", "train.global_batch: 64 -> 128"),
        ("data.split=test", "data.split: null -> 'test'"),
        ("data.source=shards", "data.source.name: 'folder' -> 'shards'"),
        ("masks.0.target_scale=[0.1, 0.2]", "masks.0.target_scale.0: 0.15 -> 0.1"),
        ("model.encoder.depth=6", "model.encoder.depth: 12 -> 6"),
    ],
)
def test_what_can_is_named_with_both_values(tmp_path: Path, override: str, said: str) -> None:
    assert config_differences(saved(tmp_path, CONFIG), changed(override)) == [said]


def test_max_steps_counts_where_the_schedules_depend_on_it(tmp_path: Path) -> None:
    by_steps = ("train.epochs=null", "train.max_steps=50")
    checkpoint = saved(tmp_path, changed(*by_steps))
    assert config_differences(checkpoint, changed(*by_steps)) == []
    assert config_differences(checkpoint, changed("train.epochs=null", "train.max_steps=60")) == [
        "train.max_steps: 50 -> 60"
    ]
    assert config_differences(checkpoint, CONFIG) == [
        "train.epochs: null -> 3.0",
        "train.max_steps: 50 -> null",
    ]


def test_a_setting_that_is_newer_than_the_checkpoint_had_its_default(tmp_path: Path) -> None:
    now = unstructure(load_run("image/quickstart"))
    older = copy.deepcopy(now)
    del older["model"]["target"]["layers"], older["optim"]["eps"]
    assert config_differences(saved(tmp_path, older), now) == []

    other = apply_override(now, "optim.eps=1e-3")
    assert config_differences(saved(tmp_path / "b", older), other) == ["optim.eps: 1e-08 -> 0.001"]


def test_a_config_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    checkpoint = save(tmp_path, 1, tensors={}, documents={"config.yaml": "- a\n"})
    with pytest.raises(CheckpointError, match="found no mapping"):
        config_differences(checkpoint, CONFIG)
