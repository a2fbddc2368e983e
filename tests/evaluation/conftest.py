"""A run's config with a tiny network, and a checkpoint of it, without training."""

from pathlib import Path

import pytest

from jepa.core.build import make_backbone, make_modality
from jepa.core.config import RunConfig, load_run, to_yaml
from jepa.core.settings import unstructure
from jepa.core.training import checkpoint

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 4, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "train.device=cpu",
]


@pytest.fixture(scope="session")
def config() -> RunConfig:
    return load_run("image/quickstart", SMALL)


@pytest.fixture
def modality(config):
    return make_modality(config)


@pytest.fixture
def trained(config, modality):
    """A backbone that differs from every random init of the same config."""
    backbone = make_backbone(config, modality)
    for parameter in backbone.parameters():
        parameter.data += 0.01
    return backbone


@pytest.fixture
def run_folder(tmp_path, config, trained) -> Path:
    """A folder as `jepa train` leaves it after 7 steps."""
    online = {f"backbone.{name}": -t for name, t in trained.state_dict().items()}
    checkpoint.save(
        tmp_path / "run" / "checkpoints",
        7,
        tensors={"model": online, "target": trained.state_dict()},
        documents={"config.yaml": to_yaml(unstructure(config))},
    )
    return tmp_path / "run"
