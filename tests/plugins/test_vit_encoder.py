"""The ViT encoder against timm's ViT and transformers' I-JEPA, with the same weights."""

import functools
import math

import numpy as np
import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from transformers import IJepaConfig, IJepaModel

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.model import Backbone
from jepa.core.tokens import Tokens
from jepa.plugins.encoders.vit import PRESETS, ViTEncoder
from jepa.plugins.tokenizers.patch import PatchTokenizer

DIM, DEPTH, HEADS, MLP, PATCH = 24, 3, 4, 40, 4
IMAGE = (3, 16, 16)
YX = ("y", "x")


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def far_from_start(module):
    """Every parameter moved, so that biases and norms count; in float64."""
    drawn = np.random.default_rng(3)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter += torch.from_numpy(drawn.normal(size=parameter.shape)) * 0.2
    return module.eval()


def encoder_of(config=None, grid=None):
    config = config or ViTEncoder.Config(depth=DEPTH, heads=HEADS, mlp_dim=MLP)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return far_from_start(ViTEncoder(config, grid=grid or Grid((4, 4), YX), dim=DIM))


def backbone_of():
    config = ViTEncoder.Config(depth=DEPTH, heads=HEADS, mlp_dim=MLP, position_order=("x", "y"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        spec = InputSpec(IMAGE, YX)
        patches = PatchTokenizer.Config(size=(PATCH, PATCH))
        tokenizer = PatchTokenizer(patches, spec=spec, dim=DIM)
        encoder = ViTEncoder(config, grid=tokenizer.grid, dim=DIM)
        return far_from_start(Backbone(tokenizer, encoder, DIM, spec))


def table_of(backbone):
    return backbone.encoder.positions(backbone.tokenizer.grid.coords()[None])


def timm_vit(backbone):
    """timm's ViT with our weights; only prefixes differ."""
    model = VisionTransformer(
        img_size=IMAGE[1:],
        patch_size=PATCH,
        embed_dim=DIM,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=MLP / DIM,
        class_token=False,
        global_pool="",
        num_classes=0,
        norm_layer=functools.partial(nn.LayerNorm, eps=1e-6),
    ).double()
    weights = {
        name.replace("tokenizer.", "patch_embed.").removeprefix("encoder."): tensor
        for name, tensor in backbone.state_dict().items()
    }
    model.load_state_dict({**weights, "pos_embed": table_of(backbone)})
    return model.eval()


def ijepa(backbone):
    """transformers' I-JEPA with our weights: names of its own, and q, k, v apart."""
    config = IJepaConfig(
        hidden_size=DIM,
        num_hidden_layers=DEPTH,
        num_attention_heads=HEADS,
        intermediate_size=MLP,
        layer_norm_eps=1e-6,
        image_size=IMAGE[1],
        patch_size=PATCH,
        attn_implementation="sdpa",  # the eager one computes its softmax in float32
    )
    renamed = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.o_proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    }
    ours, theirs = backbone.state_dict(), {}
    for kind in ("weight", "bias"):
        projection = f"embeddings.patch_embeddings.projection.{kind}"
        theirs[projection] = ours[f"tokenizer.proj.{kind}"]
        theirs[f"layernorm.{kind}"] = ours[f"encoder.norm.{kind}"]
        for i in range(DEPTH):
            for name, other in renamed.items():
                theirs[f"layers.{i}.{other}.{kind}"] = ours[f"encoder.blocks.{i}.{name}.{kind}"]
            qkv = ours[f"encoder.blocks.{i}.attn.qkv.{kind}"].chunk(3)
            for name, part in zip("qkv", qkv, strict=True):
                theirs[f"layers.{i}.attention.{name}_proj.{kind}"] = part
    theirs["embeddings.position_embeddings"] = table_of(backbone)
    model = IJepaModel(config).double()
    model.load_state_dict(theirs)
    return model.eval()


@torch.no_grad()
def test_outputs_and_layers_equal_timm_s():
    backbone, images = backbone_of(), randn(2, *IMAGE)
    theirs = timm_vit(backbone)
    torch.testing.assert_close(backbone(images), theirs(images), rtol=1e-10, atol=1e-10)
    each = theirs.forward_intermediates(images, output_fmt="NLC", intermediates_only=True)
    found = backbone.layers(images, range(DEPTH))
    for ours, other in zip(found[:-1], each[:-1], strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-10, atol=1e-10)
    assert torch.equal(found[-1], backbone(images))
    last, first = backbone.layers(images, [-1, 0])
    assert torch.equal(last, found[-1])
    assert torch.equal(first, found[0])


@torch.no_grad()
def test_outputs_equal_transformers_i_jepa_s():
    backbone, images = backbone_of(), randn(2, *IMAGE)
    theirs = ijepa(backbone)(images).last_hidden_state
    torch.testing.assert_close(backbone(images), theirs, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_a_subset_is_timm_s_vit_on_that_subset():
    backbone, images = backbone_of(), randn(2, *IMAGE)
    kept = torch.tensor([[1, 2, 7, 11, 14], [0, 3, 4, 9, 15]])
    ours = backbone.encoder(backbone.tokens(images).take(kept))
    theirs = timm_vit(backbone)
    x = theirs.patch_embed(images) + theirs.pos_embed
    x = torch.stack([row[index] for row, index in zip(x, kept, strict=True)])
    torch.testing.assert_close(ours, theirs.norm(theirs.blocks(x)), rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("axes", [("t",), YX, ("t", "y", "x")])
def test_a_permutation_of_tokens_permutes_outputs(axes):
    grid = Grid((12, 2, 3)[: len(axes)], axes)
    encoder = encoder_of(grid=grid)
    data = randn(2, grid.size, DIM)
    order = torch.from_numpy(np.random.default_rng(1).permutation(grid.size))
    coords = grid.coords().expand(2, -1, -1)
    whole = encoder(Tokens(data, coords))
    shuffled = encoder(Tokens(data[:, order], coords[:, order]))
    torch.testing.assert_close(shuffled, whole[:, order], rtol=1e-10, atol=1e-10)
    # And places matter: other coordinates, other outputs.
    assert not torch.allclose(encoder(Tokens(data, coords[:, order])), whole)


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("tiny", "vit_tiny_patch16_224"),
        ("small", "vit_small_patch16_224"),
        ("base", "vit_base_patch16_224"),
        ("large", "vit_large_patch16_224"),
        ("huge", "vit_huge_patch14_224"),
        ("giant", "vit_giant_patch14_224"),
    ],
)
def test_presets_have_the_shapes_of_timm_s(preset, name):
    size = PRESETS[preset]
    with torch.device("meta"):
        ours = ViTEncoder(ViTEncoder.Config(preset=preset), grid=Grid((2, 2), YX), dim=size.dim)
        theirs = timm.create_model(name, num_classes=0)
    expected = {
        name: parameter.shape
        for name, parameter in theirs.named_parameters()
        if name.startswith(("blocks.", "norm."))
    }
    assert {name: parameter.shape for name, parameter in ours.named_parameters()} == expected
    assert {block.attn.heads for block in ours.blocks} == {theirs.blocks[0].attn.num_heads}
    assert ViTEncoder.width(ViTEncoder.Config(preset=preset)) == size.dim


def test_the_parameters_of_presets_in_closed_form():
    recipe = {  # dim, depth, heads, MLP width: the table of recipe.md
        "tiny": (192, 12, 3, 4 * 192),
        "small": (384, 12, 6, 4 * 384),
        "base": (768, 12, 12, 4 * 768),
        "large": (1024, 24, 16, 4 * 1024),
        "huge": (1280, 32, 16, 4 * 1280),
        "giant": (1408, 40, 16, 6144),
    }
    assert recipe.keys() == PRESETS.keys()
    for preset, (d, depth, heads, mlp) in recipe.items():
        with torch.device("meta"):
            encoder = ViTEncoder(ViTEncoder.Config(preset=preset), grid=Grid((2, 2), YX), dim=d)
        attention = 3 * d * d + 3 * d + d * d + d
        block = 2 * d + attention + 2 * d + (d * mlp + mlp) + (mlp * d + d)
        assert sum(p.numel() for p in encoder.parameters()) == depth * block + 2 * d
        assert (encoder.depth, encoder.blocks[0].attn.heads) == (depth, heads)


def test_settings_go_before_the_preset_s():
    config = ViTEncoder.Config(preset="giant", depth=2, heads=4, mlp_dim=50)
    encoder = encoder_of(config)
    assert (encoder.depth, encoder.blocks[0].attn.heads) == (2, 4)
    assert encoder.blocks[0].mlp.fc1.out_features == 50
    # Of another width than the preset's, the MLP keeps its usual ratio.
    other = encoder_of(ViTEncoder.Config(preset="giant", depth=1, heads=4))
    assert other.blocks[0].mlp.fc1.out_features == 4 * DIM
    plain = ViTEncoder(ViTEncoder.Config(depth=1), grid=Grid((2, 2), YX), dim=128)
    assert plain.blocks[0].attn.heads == 2


def test_the_drop_rate_rises_linearly_over_the_blocks():
    encoder = encoder_of(ViTEncoder.Config(depth=5, heads=1, drop_path=0.4))
    rates = [block.drop_path.rate for block in encoder.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])
    with torch.device("meta"):
        config = ViTEncoder.Config(depth=3, heads=1, drop_path=0.2)
        built = ViTEncoder(config, grid=Grid((4, 4), YX), dim=DIM)
    assert [block.drop_path.rate for block in built.blocks] == pytest.approx([0.0, 0.1, 0.2])


def test_drop_path_is_for_training_alone():
    config = {"depth": DEPTH, "heads": HEADS, "mlp_dim": MLP}
    dropping = encoder_of(ViTEncoder.Config(**config, drop_path=0.5))
    tokens = Tokens(randn(8, 16, DIM), Grid((4, 4), YX).coords().expand(8, -1, -1))
    whole = encoder_of()(tokens)
    assert torch.equal(dropping(tokens), whole)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.allclose(dropping.train()(tokens), whole)


def test_checkpointing_saves_activations_and_changes_nothing():
    tokens = Tokens(randn(2, 16, DIM), Grid((4, 4), YX).coords().expand(2, -1, -1))
    config = {"depth": DEPTH, "heads": HEADS, "mlp_dim": MLP}
    saved, grads = [], []
    for checkpointing in (False, True):
        encoder = encoder_of(
            ViTEncoder.Config(**config, activation_checkpointing=checkpointing)
        ).train()
        sizes = []

        def keep(tensor, sizes=sizes):
            sizes.append(math.prod(tensor.shape))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = encoder(tokens).square().sum()
        saved.append(sum(sizes))
        loss.backward()
        grads.append([p.grad for p in encoder.parameters()])
    assert saved[1] < saved[0] / 4
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


def test_layers_outside_the_depth_are_refused():
    tokens = Tokens(randn(1, 16, DIM), Grid((4, 4), YX).coords()[None])
    with pytest.raises(ConfigError, match=r"layers: found \[3\], allowed: -3 to 2"):
        encoder_of().layers(tokens, [0, 3])
