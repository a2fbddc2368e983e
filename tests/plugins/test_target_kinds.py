"""What targets may be besides an average: layers of it, its view, content, the network itself."""

import copy
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jepa.core.errors import ConfigError, JepaError
from jepa.core.interfaces import InputSpec, Tokenizer
from jepa.core.model import Backbone
from jepa.core.tokens import Masks, Tokens, gather
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.targets.content import Content
from jepa.plugins.targets.ema import Ema
from jepa.plugins.targets.frozen import Frozen
from jepa.plugins.targets.shared import Shared
from jepa.plugins.tokenizers.patch import PatchTokenizer

DIM, DEPTH, B, M, T = 12, 3, 4, 3, 5
SHAPES = {1: (2, 24), 2: (3, 8, 12), 3: (2, 4, 6, 4)}
ONE = torch.ones(())


def backbone_of(axes=2, drop_path=0.0, dtype=torch.float64):
    spec = InputSpec(SHAPES[axes], tuple("tyx"[:axes]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(2,) * axes), spec=spec, dim=DIM)
        config = ViTEncoder.Config(depth=DEPTH, heads=2, drop_path=drop_path, init_std=0.3)
        encoder = ViTEncoder(config, grid=tokenizer.grid, dim=DIM)
        return Backbone(tokenizer, encoder, DIM, spec).to(dtype).eval()


def step_of(backbone):
    """Inputs and one view of M blocks of T tokens at random places."""
    drawn = np.random.default_rng(1)
    size = backbone.tokenizer.grid.size
    rows = [np.sort(drawn.permutation(size)[:T]) for _ in range(B * M)]
    targets = torch.from_numpy(np.stack(rows)).reshape(B, M, T)
    inputs = torch.from_numpy(drawn.normal(size=(B, *backbone.spec.shape)))
    return inputs, Masks(torch.zeros(B, 1, dtype=torch.int64), targets)


def ema_of(backbone, **settings):
    return Ema(Ema.Config(**settings)).make_target(backbone)


def places(masks, features):
    """[B, N, D] -> [B, M, T, D], one token at a time."""
    found = torch.stack(
        [features[b, masks.targets[b, m, t]] for b in range(B) for m in range(M) for t in range(T)]
    )
    return found.reshape(B, M, T, -1)


each_grid = pytest.mark.parametrize("axes", [1, 2, 3])


# --- layers and hide ----------------------------------------------------------------------------


@each_grid
def test_the_defaults_are_the_last_block_of_the_whole_input_to_the_bit(axes):
    backbone = backbone_of(axes, dtype=torch.float32)
    inputs, masks = step_of(backbone)
    (found,) = ema_of(backbone)(inputs.float(), (masks,))
    assert torch.equal(found, places(masks, backbone(inputs.float())))


def token_normal(output):
    return F.layer_norm(output, (DIM,))


def sequence_normal(output):
    columns = output.transpose(1, 2)
    return F.layer_norm(columns, (columns.shape[-1],)).transpose(1, 2)


@each_grid
@pytest.mark.parametrize(
    ("name", "normal"), [("token", token_normal), ("sequence", sequence_normal)]
)
def test_layers_are_averaged_each_normalised(axes, name, normal):
    backbone = backbone_of(axes)
    inputs, masks = step_of(backbone)
    target = ema_of(backbone, layers=2, layers_normalise=name)
    outputs = backbone.layers(inputs, [DEPTH - 2, DEPTH - 1])
    wanted = (normal(outputs[0]) + normal(outputs[1])) / 2
    (found,) = target(inputs, (masks,))
    torch.testing.assert_close(found, places(masks, wanted))
    assert not found.requires_grad


def test_more_layers_than_blocks_are_refused():
    assert ema_of(backbone_of(), layers=DEPTH).dim == DIM
    with pytest.raises(ConfigError, match=r"layers: found 4, allowed: 1 to 3, the encoder's"):
        ema_of(backbone_of(), layers=DEPTH + 1)


@each_grid
@pytest.mark.parametrize("layers", [1, 2])
def test_a_hidden_input_shows_each_block_by_itself(axes, layers):
    backbone = backbone_of(axes)
    inputs, masks = step_of(backbone)
    target = ema_of(backbone, hide="input", layers=layers)
    (found,) = target(inputs, (masks,))
    tokens = backbone.tokens(inputs)
    for block in range(M):
        seen = Tokens(*(gather(part, masks.targets[:, block]) for part in tokens))
        outputs = backbone.encoder.layers(seen, range(-layers, 0))
        wanted = outputs[0] if layers == 1 else sum(map(token_normal, outputs)) / layers
        torch.testing.assert_close(found[:, block], wanted)
    (whole,) = ema_of(backbone, layers=layers)(inputs, (masks,))
    assert not torch.allclose(found, whole)


def test_a_hidden_input_knows_nothing_of_other_places():
    backbone = backbone_of()
    inputs, masks = step_of(backbone)
    inside = torch.zeros(B, backbone.tokenizer.grid.size, dtype=torch.bool)
    inside.scatter_(1, masks.targets.flatten(1), True)
    cells = inside.reshape(B, 1, *backbone.tokenizer.grid.shape)
    shown = cells.repeat_interleave(2, 2).repeat_interleave(2, 3)
    changed = torch.where(shown, inputs, inputs + 1.0)
    for hide, same in (("input", True), ("output", False)):
        target = ema_of(backbone, hide=hide)
        (one,), (other,) = target(inputs, (masks,)), target(changed, (masks,))
        assert torch.allclose(one, other) == same


# --- content ------------------------------------------------------------------------------------


def plain_normal(row):
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [(x - mean) / math.sqrt(variance + 1e-6) for x in row]


@each_grid
def test_content_is_each_token_s_own_normalised(axes):
    backbone = backbone_of(axes)
    target = Content(Content.Config()).make_target(backbone)
    assert target.dim == SHAPES[axes][0] * 2**axes
    assert target.backbone is None
    assert not target.state_dict()
    inputs, masks = step_of(backbone)
    (found,) = target(inputs, (masks,))
    raw = places(masks, backbone.tokenizer.raw(inputs))
    for index in np.ndindex(B, M, T):
        wanted = torch.tensor(plain_normal(raw[index].tolist()), dtype=torch.float64)
        torch.testing.assert_close(found[index], wanted)


def test_constant_content_is_zero():
    backbone = backbone_of()
    _, masks = step_of(backbone)
    target = Content(Content.Config()).make_target(backbone)
    (found,) = target(torch.full((B, *backbone.spec.shape), 0.7), (masks,))
    assert torch.equal(found, torch.zeros_like(found))


class Overlapping(Tokenizer):
    """Tokens that share their samples, so that none has a content of its own."""

    def __init__(self, grid):
        super().__init__()
        self.grid = grid

    def forward(self, inputs):
        raise NotImplementedError

    def grid_for(self, shape):
        return self.grid

    def raw(self, inputs):
        raise JepaError("windows of 4 overlap by 2")


def test_tokens_that_overlap_have_no_content():
    network = backbone_of()
    backbone = Backbone(Overlapping(network.tokenizer.grid), network.encoder, DIM, network.spec)
    with pytest.raises(ConfigError, match="do not overlap: windows of 4 overlap by 2"):
        Content(Content.Config()).make_target(backbone)


# --- the network itself -------------------------------------------------------------------------


@each_grid
def test_the_shared_target_trains_both_sides(axes):
    backbone = backbone_of(axes, drop_path=0.5).train()
    target = Shared(Shared.Config()).make_target(backbone)
    assert (target.backbone, target.dim) == (backbone, DIM)
    assert not target.state_dict()
    inputs, masks = step_of(backbone)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        (found,) = target(inputs, (masks,))
        torch.manual_seed(1)
        assert torch.equal(found, places(masks, backbone(inputs)))
    found.square().mean().backward()
    assert all(p.grad is not None for p in backbone.parameters())


@each_grid
def test_the_frozen_target_stays_what_the_online_network_was(axes):
    online = backbone_of(axes, drop_path=0.5)
    first = copy.deepcopy(online)
    updater = Frozen(Frozen.Config())
    target = updater.make_target(online)
    assert target.backbone is None
    with torch.no_grad():
        for parameter in online.parameters():
            parameter += 1.0
    assert updater.update(target, online, 0.5, ONE) == {}
    target.train()
    inputs, masks = step_of(online)
    (found,) = target(inputs, (masks,))
    assert torch.equal(found, places(masks, first(inputs)))
    assert not found.requires_grad
    assert not any(p.requires_grad for p in target.parameters())


def test_shared_and_content_targets_move_nothing():
    online = backbone_of()
    before = copy.deepcopy(online.state_dict())
    for updater in (Shared(Shared.Config()), Content(Content.Config())):
        assert updater.update(updater.make_target(online), online, 0.5, ONE) == {}
    assert all(torch.equal(before[name], t) for name, t in online.state_dict().items())


def test_content_of_one_value_is_refused_since_normalised_it_is_zero():
    spec = InputSpec((1, 24), ("t",))
    tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(1,)), spec=spec, dim=DIM)
    encoder = ViTEncoder(ViTEncoder.Config(depth=1, heads=2), grid=tokenizer.grid, dim=DIM)
    backbone = Backbone(tokenizer, encoder, DIM, spec)
    with pytest.raises(ConfigError, match="found 1 value, allowed: 2 or more"):
        Content(Content.Config()).make_target(backbone)
