"""Published names, which timm's ViT has too, come out as ours."""

import functools

import numpy as np
import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from jepa.core.errors import CheckpointError
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.model import Backbone
from jepa.core.tokens import Query, Tokens
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.predictors.vit import ViTPredictor
from jepa.plugins.published import backbone_weights, predictor_weights
from jepa.plugins.tokenizers.patch import PatchTokenizer

DIM, HEADS, DEPTH, SIDE = 24, 4, 2, 4
GRID = Grid((SIDE, SIDE), ("y", "x"))


def published_table(width):
    """I-JEPA's positions from timm's: x, then y, each [sin | cos]."""
    table = build_sincos2d_pos_embed([SIDE, SIDE], dim=width, reverse_coord=True)
    table = table.reshape(SIDE, SIDE, 2, 2, width // 4).transpose(0, 1).transpose(2, 3)
    return table.reshape(1, SIDE * SIDE, width)


def timm_vit():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = VisionTransformer(
            img_size=4 * SIDE,
            patch_size=4,
            embed_dim=DIM,
            depth=DEPTH,
            num_heads=HEADS,
            class_token=False,
            global_pool="",
            num_classes=0,
            norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
        )
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.2)
    model.pos_embed.data = published_table(DIM)
    return model.eval()


def backbone_of(order=("x", "y"), side=SIDE):
    spec = InputSpec((3, 4 * side, 4 * side), ("y", "x"))
    tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(4, 4)), spec=spec, dim=DIM)
    config = ViTEncoder.Config(depth=DEPTH, heads=HEADS, position_order=order)
    encoder = ViTEncoder(config, grid=tokenizer.grid, dim=DIM)
    return Backbone(tokenizer, encoder, DIM, spec).eval()


def predictor_of():
    config = ViTPredictor.Config(depth=DEPTH, dim=12, heads=HEADS, position_order=("x", "y"))
    return ViTPredictor(config, grid=GRID, dim=DIM, target_dim=DIM, views=1).eval()


@torch.no_grad()
def test_a_published_encoder_gives_its_own_features():
    theirs, ours = timm_vit(), backbone_of()
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    ours.load_state_dict(backbone_weights(state, ours.encoder.positions))
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 16, 16))).float()
    torch.testing.assert_close(ours(images), theirs(images), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_published_predictor_gives_its_own_predictions():
    theirs, ours = predictor_of(), predictor_of()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(3))
    state = {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}
    state["module.predictor_pos_embed"] = published_table(12)
    ours.load_state_dict(predictor_weights(state, ours.positions))
    coords = GRID.coords()[None]
    context = Tokens(torch.ones(1, 5, DIM), coords[:, :5])
    query = Query(coords[:, 9:], 0)
    assert torch.equal(ours(context, query), theirs(context, query))


def test_other_positions_are_refused():
    state = timm_vit().state_dict()
    with pytest.raises(CheckpointError, match=r"other positions than position_order \['y', 'x'\]"):
        backbone_weights(state, backbone_of(order=None).encoder.positions)
    with pytest.raises(CheckpointError, match=r"is \[1, 16, 24\], allowed: \[1, 25, 24\]"):
        backbone_weights(state, backbone_of(side=5).encoder.positions)


def test_an_unknown_name_is_refused_with_the_nearest():
    state = {"module.block.0.attn.qkv.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"found 'block\.0\.attn\.qkv\.weight', allowed: "):
        backbone_weights(state, backbone_of().encoder.positions)
    with pytest.raises(CheckpointError, match=r"found 'pos_embed', allowed: .*predictor_pos_embed"):
        predictor_weights({"pos_embed": torch.zeros(1)}, predictor_of().positions)
