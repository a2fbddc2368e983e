"""A trained run and pictures, made in a moment, for the commands that embed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from jepa.core.build import make_backbone, make_modality
from jepa.core.config import load_run, to_yaml
from jepa.core.settings import unstructure
from jepa.core.training import checkpoint

SMALL = [
    "model.dim=16",
    "model.encoder={name: vit, depth: 4, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.workers=0",
    "train.device=cpu",
]


def make_run(folder: Path, seed: int = 0) -> Path:
    """A folder as `jepa train` leaves it; 49 tokens of width 16, 4 layers."""
    config = load_run(
        "image/quickstart", [*SMALL, f"train.seed={seed}", f"data.cache={folder / 'cache'}"]
    )
    weights = make_backbone(config, make_modality(config)).state_dict()
    checkpoint.save(
        folder / "checkpoints",
        1,
        tensors={"model": weights, "target": weights},
        documents={"config.yaml": to_yaml(unstructure(config))},
    )
    return folder


def make_pictures(folder: Path, count: int, bad: tuple[int, ...] = ()) -> Path:
    """Pictures `{0000...}.png`, those of the places in `bad` cut off."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for place in range(count):
        path = folder / f"{place:04d}.png"
        Image.fromarray(draw.integers(0, 256, (28, 28), dtype=np.uint8)).save(path)
        if place in bad:
            path.write_bytes(path.read_bytes()[:60])
    return folder
