"""The predictor against timm's blocks. Its loss and gradients: tests/core/test_model.py."""

import functools
import math

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import nn

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.tokens import Query, Tokens
from jepa.plugins.predictors.vit import ViTPredictor

GRID = Grid((3, 4), ("y", "x"))
DIM, TARGET, WIDTH, HEADS, DEPTH = 16, 20, 12, 3, 2
YX = ("y", "x")


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def predictor_of(views=1, moved=True, **settings):
    config = ViTPredictor.Config(**{"depth": DEPTH, "dim": WIDTH, "heads": HEADS, **settings})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        predictor = ViTPredictor(config, grid=GRID, dim=DIM, target_dim=TARGET, views=views)
    if moved:
        drawn = np.random.default_rng(3)
        with torch.no_grad():
            for parameter in predictor.parameters():
                parameter += torch.from_numpy(drawn.normal(size=parameter.shape)) * 0.3
    return predictor.double().eval()


def ask(view=0, asked=(0, 5, 11), seen=(1, 2, 6, 10)):
    coords = GRID.coords()
    context = Tokens(randn(2, len(seen), DIM), coords[list(seen)].expand(2, -1, -1))
    return context, Query(coords[list(asked)].expand(2, -1, -1), view)


def timm_block(block):
    """timm's block with our weights: the names are the same."""
    other = TimmBlock(
        WIDTH, HEADS, 4, qkv_bias=True, norm_layer=functools.partial(nn.LayerNorm, eps=1e-6)
    )
    other.double().load_state_dict(block.state_dict())
    return other.eval()


@torch.no_grad()
def test_predictions_equal_those_of_timm_s_blocks_on_all_tokens():
    predictor = predictor_of()
    context, query = ask()
    seen = predictor.predictor_embed(context.data) + predictor.positions(context.coords)
    asked = predictor.mask_token.expand(2, 3, -1) + predictor.positions(query.coords)
    x = torch.cat([seen, asked], dim=1)
    for block in predictor.predictor_blocks:
        x = timm_block(block)(x)
    expected = predictor.predictor_proj(predictor.predictor_norm(x))[:, -3:]
    found = predictor(context, query)
    assert found.shape == (2, 3, TARGET)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_the_order_of_the_context_does_not_matter_and_that_of_the_query_is_kept():
    predictor = predictor_of()
    context, query = ask()
    expected = predictor(context, query)
    shuffled = Tokens(context.data[:, [2, 0, 3, 1]], context.coords[:, [2, 0, 3, 1]])
    found = predictor(shuffled, Query(query.coords[:, [2, 0, 1]], 0))
    torch.testing.assert_close(found, expected[:, [2, 0, 1]], rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_one_token_for_all_views_or_one_a_view():
    one, each = predictor_of(views=3), predictor_of(views=3, token_a_view=True)
    assert (one.mask_token.shape, each.mask_token.shape) == ((1, 1, WIDTH), (3, 1, WIDTH))
    found = [each(*ask(view)) for view in range(3)]
    assert not torch.allclose(found[0], found[1])
    assert not torch.allclose(found[1], found[2])
    assert torch.equal(one(*ask(0)), one(*ask(2)))
    one.mask_token.copy_(each.mask_token[1:2])
    others = {k: v for k, v in each.state_dict().items() if k != "mask_token"}
    one.load_state_dict(others, strict=False)
    torch.testing.assert_close(one(*ask(0)), found[1])


@torch.no_grad()
def test_how_it_starts():
    fresh = predictor_of(moved=False, dim=384, heads=12)
    assert float(fresh.mask_token.std()) == pytest.approx(0.02, rel=5 / math.sqrt(2 * 384))
    assert float(fresh.predictor_embed.weight.std()) == pytest.approx(0.02, rel=0.05)
    assert not fresh.predictor_proj.bias.any()
    wide = predictor_of(moved=False, dim=384, heads=12, token_std=1.0)
    assert float(wide.mask_token.std()) == pytest.approx(1.0, rel=5 / math.sqrt(2 * 384))
    zero = predictor_of(views=2, moved=False, token_a_view=True, token_std=0.0)
    assert not zero.mask_token.any()


@pytest.mark.parametrize(("depth", "width", "dim"), [(6, 384, 768), (12, 384, 1280), (2, 20, 64)])
def test_the_parameters_in_closed_form(depth, width, dim):
    config = ViTPredictor.Config(depth=depth, dim=width, heads=4)
    with torch.device("meta"):
        predictor = ViTPredictor(config, grid=GRID, dim=dim, target_dim=dim, views=1)
    w, mlp = width, 4 * width
    block = 2 * w + (3 * w * w + 3 * w) + (w * w + w) + 2 * w + (w * mlp + mlp) + (mlp * w + w)
    expected = (dim * w + w) + w + depth * block + 2 * w + (w * dim + dim)
    assert sum(p.numel() for p in predictor.parameters()) == expected


def test_names_are_the_published_checkpoints():
    tops = {name.split(".")[0] for name in predictor_of().state_dict()}
    assert tops == {
        "predictor_embed",
        "mask_token",
        "predictor_blocks",
        "predictor_norm",
        "predictor_proj",
    }


def test_settings():
    predictor = predictor_of(depth=3, dim=96, heads=None, mlp_ratio=2.5, drop_path=0.2)
    assert [b.drop_path.rate for b in predictor.predictor_blocks] == pytest.approx([0, 0.1, 0.2])
    assert predictor.predictor_blocks[0].attn.heads == 3
    assert predictor.predictor_blocks[0].mlp.fc1.out_features == 240
    with pytest.raises(ConfigError, match="heads: 5 heads do not divide the width 12; 4 would"):
        predictor_of(heads=5)


def test_checkpointing_with_drop_path_changes_no_gradient():
    context, query = ask()
    grads = []
    for checkpointing in (False, True):
        predictor = predictor_of(drop_path=0.5, activation_checkpointing=checkpointing).train()
        with torch.random.fork_rng():
            torch.manual_seed(4)
            predictor(context, query).square().sum().backward()
        grads.append([p.grad for p in predictor.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))
