"""A run small enough to look at: 8 x 8 inputs of one channel on a 4 x 4 grid."""

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from einops import repeat
from stripes_source import Stripes
from torch import nn

from jepa.core.config import OptimConfig, TrainConfig
from jepa.core.data.source import Source
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec, MaskSampler
from jepa.core.modality import Modality
from jepa.core.model import JEPA, Backbone
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.core.training.observer import FixedBatch, RunView
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.objectives.regression import SmoothL1
from jepa.plugins.predictors.vit import ViTPredictor
from jepa.plugins.targets.ema import Ema
from jepa.plugins.tokenizers.patch import PatchTokenizer

DIM = 16
GRID = Grid((4, 4), ("y", "x"))


class ToFloat(nn.Module):
    def forward(self, inputs):
        return inputs.float() / 255


class Squares(Modality):
    """One channel of 8 x 8 bytes."""

    Config = type(None)
    extensions = frozenset()

    @classmethod
    def defaults(cls):
        return {}

    @property
    def spec(self):
        return InputSpec((1, 8, 8), ("y", "x"))

    def train_input(self, content, rng):
        return self.eval_input(content)

    def eval_input(self, content):
        return torch.as_tensor(content)

    def device_transform(self):
        return ToFloat()

    def preview(self, inputs):
        return repeat(inputs, "b 1 h w -> b h w c", c=3)

    def baseline(self, inputs):
        return inputs.flatten(1).float()


class LeftToRight(MaskSampler):
    """Sees the left half; each quarter of the right half is a target block. Rolled at random."""

    Config = type(None)

    def __init__(self, config, *, grid):
        self.tokens = torch.arange(grid.size).reshape(grid.shape)

    def sample(self, batch_size, rng):
        up = (rng.rows(1) * 4).long().flatten().tolist()
        rolled = [self.tokens.roll(rows, dims=0) for rows in up]
        context = torch.stack([t[:2, :2].reshape(4).sort()[0] for t in rolled])
        targets = torch.stack([t[:, 2:].T.sort()[0] for t in rolled])
        return Masks(context, targets)


def tiny_model() -> JEPA:
    torch.manual_seed(0)
    modality = Squares()
    tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(2, 2)), spec=modality.spec, dim=DIM)
    encoder = ViTEncoder(ViTEncoder.Config(depth=2, heads=2, drop_path=0.5), grid=GRID, dim=DIM)
    backbone = Backbone(tokenizer, encoder, DIM, modality.spec)
    target = Ema(Ema.Config()).make_target(backbone).eval()
    predictor = ViTPredictor(
        ViTPredictor.Config(dim=DIM, depth=1, heads=2), grid=GRID, dim=DIM, target_dim=DIM, views=1
    )
    return JEPA(
        prepare=modality.device_transform(),
        backbone=backbone,
        predictor=predictor,
        target=target,
        objective=SmoothL1(SmoothL1.Config()),
    )


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunView]:
    """Gives a RunView; `start_step` as after a resume."""
    model = tiny_model()
    inputs = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    sampler = LeftToRight(None, grid=GRID)
    config = SimpleNamespace(
        masks=(SimpleNamespace(cls=LeftToRight, config=None),),
        optim=OptimConfig(),
        train=TrainConfig(global_batch=6, max_steps=100, seed=3),
    )

    def make(
        start_step: int = 0,
        total_steps: int = 100,
        source: Source | None = None,
        held_out: Any = None,
    ) -> RunView:
        return RunView(
            config=config,
            output=tmp_path,
            model=model,
            modality=Squares(),
            source=source or Stripes(),
            held_out=lambda: held_out,
            fixed_batch=lambda: FixedBatch(inputs, (sampler.sample(6, Rng(0, 0, 6)),)),
            start_step=start_step,
            total_steps=total_steps,
            steps_per_epoch=10,
            global_batch=6,
            device=torch.device("cpu"),
            autocast=nullcontext,
        )

    return make
