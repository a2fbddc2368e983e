"""Targets: the moving average's formula, evaluation mode, and no gradient."""

import copy

import numpy as np
import pytest
import torch

from jepa.core.interfaces import InputSpec
from jepa.core.model import Backbone, take_targets
from jepa.core.tokens import Masks
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.targets.ema import Ema
from jepa.plugins.targets.online import Online
from jepa.plugins.tokenizers.patch import PatchTokenizer

ONE, ZERO = torch.ones(()), torch.zeros(())


def backbone_of(drop_path=0.0):
    spec = InputSpec((3, 8, 8), ("y", "x"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(2, 2)), spec=spec, dim=12)
        config = ViTEncoder.Config(depth=2, heads=2, drop_path=drop_path)
        return Backbone(tokenizer, ViTEncoder(config, grid=tokenizer.grid, dim=12), 12, spec)


def move(module, seed):
    drawn = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.from_numpy(drawn.normal(size=parameter.shape)).to(parameter)


def weights_of(module):
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def step_inputs():
    drawn = np.random.default_rng(1)
    targets = torch.from_numpy(np.stack([np.sort(drawn.permutation(16)[:6]) for _ in range(12)]))
    masks = Masks(torch.zeros(4, 1, dtype=torch.int64), targets.reshape(4, 3, 6))
    return torch.from_numpy(drawn.normal(size=(4, 3, 8, 8))).float(), (masks,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_moving_average_follows_its_formula_for_many_steps(dtype):
    online = backbone_of().to(dtype)
    updater = Ema(Ema.Config(start=0.5, end=1.0))
    target = updater.make_target(online)
    expected = {name: tensor.double() for name, tensor in weights_of(online).items()}
    for step in range(9):
        move(online, step)
        moved = updater.update(target, online, step / 8, ONE)
        momentum = 0.5 + step / 8 * 0.5
        assert moved == {"momentum": momentum}
        for name, parameter in online.named_parameters():
            new = parameter.detach().double()
            expected[name] = momentum * expected[name] + (1 - momentum) * new
    tight = 1e-5 if dtype == torch.float32 else 1e-12
    for name, parameter in target.backbone.named_parameters():
        assert parameter.dtype == dtype
        torch.testing.assert_close(parameter.double(), expected[name], rtol=tight, atol=tight)


def test_the_ends_of_the_momentum():
    updater = Ema(Ema.Config(start=0.0, end=1.0))
    online = backbone_of()
    target = updater.make_target(online)
    move(online, 1)
    before = weights_of(target)
    updater.update(target, online, 1.0, ONE)
    assert all(torch.equal(before[name], p) for name, p in target.named_parameters())
    updater.update(target, online, 0.0, ONE)
    new = weights_of(online)
    assert all(torch.equal(new[name], p) for name, p in target.backbone.named_parameters())


def test_a_skipped_step_moves_nothing():
    online = backbone_of()
    updater = Ema(Ema.Config(start=0.5))
    target = updater.make_target(online)
    move(online, 1)
    before = weights_of(target)
    assert updater.update(target, online, 0.0, ZERO) == {"momentum": 0.5}
    assert all(torch.equal(before[name], p) for name, p in target.named_parameters())


def test_the_target_of_ema_starts_as_a_copy_that_nothing_trains():
    online = backbone_of()
    target = Ema(Ema.Config()).make_target(online)
    assert target.dim == 12
    new = weights_of(online)
    assert all(torch.equal(new[name], p) for name, p in target.backbone.named_parameters())
    assert not any(p.requires_grad for p in target.parameters())
    assert all(p.requires_grad for p in online.parameters())
    shared = {p.data_ptr() for p in online.parameters()} & {
        p.data_ptr() for p in target.parameters()
    }
    assert not shared


def test_the_online_target_is_the_backbone_and_holds_nothing_of_its_own():
    online = backbone_of()
    updater = Online(Online.Config())
    target = updater.make_target(online)
    assert (target.backbone, target.dim) == (online, 12)
    assert not list(target.parameters())
    assert not target.state_dict()
    before = weights_of(online)
    assert updater.update(target, online, 0.5, ONE) == {}
    assert all(torch.equal(before[name], p) for name, p in online.named_parameters())


@pytest.mark.parametrize("updater", [Ema(Ema.Config()), Online(Online.Config())])
def test_targets_are_features_of_the_whole_input_without_gradient_and_drop_path(updater):
    online = backbone_of(drop_path=0.9)
    target = updater.make_target(online)
    online.train()
    target.train()
    inputs, views = step_inputs()
    modes = [module.training for module in (*online.modules(), *target.modules())]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        (found,) = target(inputs, views)
    assert [module.training for module in (*online.modules(), *target.modules())] == modes
    assert not found.requires_grad
    whole = copy.deepcopy(online).eval()(inputs)
    for sample in range(4):
        for block in range(3):
            for place, index in enumerate(views[0].targets[sample, block].tolist()):
                assert torch.equal(found[sample, block, place], whole[sample, index])


def test_take_targets_of_two_views():
    features = torch.arange(2 * 5 * 3).reshape(2, 5, 3)
    context = torch.zeros(2, 1, dtype=torch.int64)
    views = (
        Masks(context, torch.tensor([[[0, 4]], [[1, 2]]])),
        Masks(context, torch.tensor([[[3], [0]], [[2], [2]]])),
    )
    first, second = take_targets(features, views)
    assert torch.equal(first, torch.stack([features[0, [0, 4]], features[1, [1, 2]]])[:, None])
    expected = torch.stack([features[0, [3, 0]], features[1, [2, 2]]])[:, :, None]
    assert torch.equal(second, expected)
