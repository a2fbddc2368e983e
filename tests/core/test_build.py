"""Names become objects: counts, initial weights, the meta device, and faults at their places."""

import math

import pytest
import torch
from torch import nn

from jepa.core.build import build, make_backbone, make_modality, model_dim
from jepa.core.config import load_run
from jepa.core.errors import ConfigError

SMALL = ["model.encoder.depth=2", "model.predictor.depth=2"]


def config_of(*overrides, name="image/quickstart"):
    return load_run(name, [*SMALL, *overrides])


def weights(*overrides):
    return build(config_of(*overrides)).model.state_dict()


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    ("name", "dim", "depth", "mlp", "patch", "predictor_depth", "grid"),
    [
        ("vits16", 384, 12, 1536, 16, 6, 14),
        ("vitb16", 768, 12, 3072, 16, 6, 14),
        ("vitl16", 1024, 24, 4096, 16, 12, 14),
        ("vith14", 1280, 32, 5120, 14, 12, 16),
        ("vith16_448", 1280, 32, 5120, 16, 12, 28),
        ("vith14_in22k", 1280, 32, 5120, 14, 12, 16),
        ("vitg16_in22k", 1408, 40, 6144, 16, 16, 14),
    ],
)
def test_shipped_configs_have_the_recipe_s_sizes(
    name, dim, depth, mlp, patch, predictor_depth, grid
):
    with torch.device("meta"):
        built = build(load_run(f"image/{name}"))

    def count(module):
        return sum(p.numel() for p in module.parameters())

    def block(d, hidden):
        return 4 * d + (3 * d * d + 3 * d) + (d * d + d) + (2 * d * hidden + hidden + d)

    tokenizer = 3 * patch * patch * dim + dim
    encoder = depth * block(dim, mlp) + 2 * dim
    width = 384
    predictor = (dim * width + width) + width + 2 * width + (width * dim + dim)
    predictor += predictor_depth * block(width, 4 * width)
    model = built.model
    assert count(model.backbone.tokenizer) == tokenizer
    assert count(model.backbone.encoder) == encoder
    assert count(model.predictor) == predictor
    assert count(model.target) == tokenizer + encoder
    assert built.grid.shape == (grid, grid)
    heads = {block.attn.heads for block in model.backbone.encoder.blocks}
    assert {block.attn.heads for block in model.predictor.predictor_blocks} == heads


def test_initial_weights_are_a_function_of_the_seed():
    first = weights("train.seed=3")
    torch.rand(7)
    assert equal(weights("train.seed=3"), first)
    other = weights("train.seed=4")
    for name in ("backbone.tokenizer.proj.weight", "predictor.mask_token"):
        assert not torch.equal(other[name], first[name])
    # Encoder and predictor draw apart: the one's depth does not move the other's weights.
    deeper = weights("train.seed=3", "model.encoder.depth=3")
    drawn = [k for k in first if k.startswith("predictor.")]
    assert all(torch.equal(deeper[k], first[k]) for k in drawn)
    backbone = make_backbone(config_of("train.seed=3"), make_modality(config_of()))
    assert all(torch.equal(first[f"backbone.{k}"], v) for k, v in backbone.state_dict().items())


def test_building_leaves_torch_s_generator_as_it_was():
    before = torch.random.get_rng_state()
    build(config_of())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_initial_weights_have_the_recipe_s_statistics():
    stds = [f"model.{part}.init_std=0.02" for part in ("tokenizer", "encoder", "predictor")]
    model = build(config_of("model.dim=192", *stds)).model
    for part in (model.backbone, model.predictor):
        for layer in part.modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                weight = layer.weight.detach()
                assert float(weight.std()) == pytest.approx(
                    0.02, rel=5 / math.sqrt(2 * weight.numel())
                )
                assert not layer.bias.detach().any()
            elif isinstance(layer, nn.LayerNorm):
                assert (layer.weight == 1).all()
                assert not layer.bias.detach().any()
    assert equal(model.target.backbone.state_dict(), model.backbone.state_dict())


@pytest.mark.parametrize("target", ["ema", "frozen", "online", "pixels", "shared"])
def test_the_meta_device_gives_the_same_names_and_shapes(target):
    config = config_of(f"model.target={{name: {target}}}")
    real = build(config).model
    with torch.device("meta"):
        sketch = build(config).model
    for kind in (nn.Module.named_parameters, nn.Module.named_buffers):
        shapes = [
            {name: (tensor.shape, tensor.dtype) for name, tensor in kind(model)}
            for model in (real, sketch)
        ]
        assert shapes[0] == shapes[1]
    assert all(p.is_meta for p in sketch.parameters())
    assert real.state_dict().keys() == sketch.state_dict().keys()


def test_parts_know_what_they_must_of_each_other():
    masks = "masks=[{name: multiblock, min_keep: 4}, {name: multiblock, min_keep: 4}]"
    built = build(config_of(masks, "model.predictor.token_a_view=true", "model.dim=60"))
    assert len(built.samplers) == 2
    assert built.model.predictor.mask_token.shape[0] == 2
    assert built.model.predictor.predictor_proj.out_features == built.model.target.dim == 60
    assert built.grid == built.model.backbone.tokenizer.grid


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_predictor_is_as_wide_as_the_content_of_a_token(device):
    with torch.device(device):
        model = build(config_of("model.target=pixels", "model.tokenizer.size=[4, 7]")).model
    assert model.predictor.predictor_proj.out_features == model.target.dim == 28
    assert model.backbone.dim == 96


def test_regularizers_of_one_name_are_numbered():
    named = "model.regularizers=[vicreg, sigreg, {name: 'anyjepa:vicreg', gamma: 2.0}]"
    model = build(config_of(named)).model
    assert model.regularizer_names == ("vicreg_0", "sigreg", "vicreg_1")
    assert [model.regularizers[place].config.gamma for place in (0, 2)] == [1.0, 2.0]


def test_the_width_is_the_model_s_or_the_preset_s():
    assert model_dim(config_of("model.encoder.preset=huge", "model.dim=null")) == 1280
    assert model_dim(config_of("model.encoder.preset=huge", "model.dim=160")) == 160
    with pytest.raises(ConfigError, match=r"model\.dim: missing: set it, or a preset"):
        build(config_of("model.encoder.preset=null", "model.dim=null"))


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        (
            "model.encoder.heads=7",
            "model.encoder.heads: 7 heads do not divide the width 96; 6 would",
        ),
        (
            "model.predictor.heads=3",
            "model.predictor.heads: 3 heads do not divide the width 64; 2 would",
        ),
        (
            "model.target.layers=5",
            "model.target.layers: found 5, allowed: 1 to 2, the encoder's blocks",
        ),
        (
            "model.tokenizer.size=[5, 4]",
            "model.tokenizer.size: patches of [5, 4] do not divide an input of [28, 28]",
        ),
        ("model.tokenizer.size=[4]", "model.tokenizer.size: found [4], allowed: one side for each"),
        (
            "model.encoder.position_order=[y, t]",
            "model.encoder.position_order: found ['y', 't'], allowed: the axes of the grid, "
            "['y', 'x'], in any order",
        ),
        ("model.predictor.position_order=[x]", "model.predictor.position_order: found ['x']"),
        ("masks.0.min_keep=40", "masks.0: on the grid 7 x 7"),
        ("model.encoder.drop_path=1.0", "model.encoder.drop_path: found 1.0, allowed: 0 or more"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place_in_the_config(override, fault):
    with pytest.raises(ConfigError) as raised:
        build(config_of(override))
    (found,) = raised.value.faults
    assert str(found).startswith(fault)
    assert found.path == fault.split(":")[0]


def test_a_part_s_refusal_keeps_its_cause(monkeypatch):
    config = config_of()

    def refuse(self, config):
        raise ConfigError("no such target today")

    monkeypatch.setattr(config.model.target.cls, "__init__", refuse)
    with pytest.raises(ConfigError, match=r"model\.target: no such target today") as raised:
        build(config)
    assert isinstance(raised.value.__cause__, ConfigError)
