"""The optimizer: which names are decayed, AdamW's numbers, the gate, the state."""

import copy
import math

import attrs
import numpy as np
import pytest
import torch
from torch import nn

from jepa.core.build import build
from jepa.core.config import OptimConfig, load_run
from jepa.core.training.optimizer import Optimizer, decays, parameter_count
from jepa.core.training.tensorfile import load_into, write_tensors


class Toy(nn.Module):
    """A matrix, a bias, a norm, a token, and a branch that a step may leave out."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(5, 4)
        self.norm = nn.LayerNorm(4)
        self.token = nn.Parameter(torch.ones(1, 1, 4))
        self.unused = nn.Linear(4, 4)

    def forward(self, x):
        return (self.norm(self.linear(x)) * self.token).tanh().sum()


def toy():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Toy().double()


def inputs(step):
    return torch.from_numpy(np.random.default_rng(step).normal(size=(6, 5)))


def state_of(model, optimizer):
    tensors = {**model.state_dict(), **optimizer.tensors()}
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def step(model, optimizer, number, scale=1.0, clips=True):
    optimizer.set(lr=1e-2 / (number + 1), weight_decay=0.1 * number, clips=clips)
    (scale * model(inputs(number))).backward()
    return optimizer.step()


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_which_names_of_a_model_are_decayed():
    config = load_run("image/quickstart", ["model.encoder.depth=1", "model.predictor.depth=1"])
    optimizer = Optimizer(build(config).model, config.optim)
    matrices = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    blocks = ("backbone.encoder.blocks.0", "predictor.predictor_blocks.0")
    expected = {f"{block}.{name}.weight" for block in blocks for name in matrices}
    expected |= {
        "backbone.tokenizer.proj.weight",
        "predictor.mask_token",
        "predictor.predictor_embed.weight",
        "predictor.predictor_proj.weight",
    }
    names = {id(parameter): name for name, parameter in optimizer.named.items()}
    decayed, others = optimizer.adamw.param_groups
    assert {names[id(p)] for p in decayed["params"]} == expected
    rest = {names[id(p)] for p in others["params"]}
    assert rest == set(optimizer.named) - expected
    assert all(name.endswith("bias") or "norm" in name for name in rest)
    # Nothing of the target is trained.
    assert not any(name.startswith("target.") for name in optimizer.named)
    optimizer.set(lr=0.5, weight_decay=0.25)
    assert (decayed["lr"], others["lr"]) == (0.5, 0.5)
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.25, 0.0)


def test_a_bias_of_two_dimensions_is_not_decayed():
    assert decays("table", torch.zeros(2, 2))
    assert not decays("relative_position_bias", torch.zeros(2, 2))
    assert not decays("scale", torch.zeros(2))


@pytest.mark.parametrize("clip", [None, 0.05])
def test_steps_equal_plain_adamw_s(clip):
    ours, theirs = toy(), toy()
    optimizer = Optimizer(ours, OptimConfig(clip_grad=clip, betas=(0.8, 0.95), eps=1e-6))
    matrices = [theirs.linear.weight, theirs.token, theirs.unused.weight]
    vectors = [theirs.linear.bias, *theirs.norm.parameters(), theirs.unused.bias]
    plain = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors}],
        betas=(0.8, 0.95),
        eps=1e-6,
        foreach=False,
        fused=False,
    )
    for number in range(8):
        norm, applied = step(ours, optimizer, number)
        for group, weight_decay in zip(plain.param_groups, (0.1 * number, 0.0), strict=True):
            group["lr"], group["weight_decay"] = 1e-2 / (number + 1), weight_decay
        plain.zero_grad()
        theirs(inputs(number)).backward()
        squares = [float((p.grad**2).sum()) for p in theirs.parameters() if p.grad is not None]
        assert float(norm) == pytest.approx(math.sqrt(sum(squares)), rel=1e-12)
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(theirs.parameters(), clip, foreach=False)
            assert float(norm) > clip
        plain.step()
        assert float(applied) == 1.0
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-13)
            assert mine.grad is None
    assert float(optimizer.tensors()["linear.weight.step"]) == 8


def test_each_part_is_clipped_on_its_own():
    # The norms of `linear` and `norm` are above 5, that of the token is below it.
    ours, theirs = toy(), toy()
    optimizer = Optimizer(ours, OptimConfig(clip_grad=5.0, clip_of="parts"))
    plain = torch.optim.AdamW(theirs.parameters(), weight_decay=0.0, foreach=False, fused=False)
    clipped = 0
    for number in range(8):
        optimizer.set(lr=1e-2, weight_decay=0.0)
        ours(inputs(number)).backward()
        squares = [float((p.grad**2).sum()) for p in ours.parameters() if p.grad is not None]
        norm, applied = optimizer.step()
        assert (float(norm), float(applied)) == (
            pytest.approx(math.sqrt(sum(squares)), rel=1e-12),
            1.0,
        )
        plain.param_groups[0]["lr"] = 1e-2
        plain.zero_grad()
        theirs(inputs(number)).backward()
        for part in ([*theirs.linear.parameters()], [*theirs.norm.parameters()], [theirs.token]):
            clipped += float(torch.nn.utils.clip_grad_norm_(part, 5.0, foreach=False)) > 5.0
        plain.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-10, atol=1e-13)
    assert 0 < clipped < 24


def test_parts_of_a_model_are_the_encoder_with_its_tokenizer_and_the_predictor():
    config = load_run("image/quickstart", ["model.encoder.depth=1", "model.predictor.depth=1"])
    model = build(config).model
    optimizer = Optimizer(model, attrs.evolve(config.optim, clip_of="parts"))
    backbone, predictor = optimizer.clipped
    assert {id(p) for p in backbone} == {id(p) for p in model.backbone.parameters()}
    assert {id(p) for p in predictor} == {id(p) for p in model.predictor.parameters()}


@pytest.mark.parametrize("of", ["whole", "parts"])
def test_a_step_that_is_not_clipped_is_the_same_to_the_bit(of):
    free, held = toy(), toy()
    plain = Optimizer(free, OptimConfig())
    clipping = Optimizer(held, OptimConfig(clip_grad=1e-3, clip_of=of))
    for number in range(4):
        step(free, plain, number)
        step(held, clipping, number, clips=False)
        assert equal(state_of(free, plain), state_of(held, clipping))
    step(free, plain, 4)
    step(held, clipping, 4)
    assert not equal(state_of(free, plain), state_of(held, clipping))


@pytest.mark.parametrize("of", ["whole", "parts"])
@pytest.mark.parametrize("clip", [None, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_non_finite_gradient_changes_nothing(bad, clip, of):
    model, untroubled = toy(), toy()
    optimizer = Optimizer(model, OptimConfig(clip_grad=clip, clip_of=of))
    for number in range(2):
        step(model, optimizer, number)
    before = state_of(model, optimizer)
    optimizer.set(lr=1e-2, weight_decay=0.3)
    model(inputs(7)).backward()
    model.norm.bias.grad[1] = bad  # one number of one parameter
    norm, applied = optimizer.step()
    assert not math.isfinite(norm)
    assert float(applied) == 0.0
    assert equal(state_of(model, optimizer), before)
    assert model.linear.weight.grad is None
    # And the run goes on as if the step had not been.
    step(model, optimizer, 2)
    other = Optimizer(untroubled, OptimConfig(clip_grad=clip, clip_of=of))
    for number in range(3):
        step(untroubled, other, number)
    assert equal(state_of(model, optimizer), state_of(untroubled, other))


def test_a_non_finite_gradient_in_the_first_step_changes_nothing():
    model = toy()
    optimizer = Optimizer(model, OptimConfig())
    before = state_of(model, optimizer)
    step(model, optimizer, 0, scale=math.nan)
    assert equal(state_of(model, optimizer), before)


@pytest.mark.parametrize("steps", [0, 3])
def test_the_state_goes_round_also_of_a_parameter_without_gradient(tmp_path, steps):
    model = toy()
    optimizer = Optimizer(model, OptimConfig())
    for number in range(steps):
        step(model, optimizer, number)
    tensors = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    keys = ("step", "exp_avg", "exp_avg_sq")
    assert set(tensors) == {f"{name}.{key}" for name, _ in model.named_parameters() for key in keys}
    twin = copy.deepcopy(model)
    resumed = Optimizer(twin, OptimConfig())
    write_tensors(tmp_path / "state.safetensors", tensors, {})
    load_into(tmp_path / "state.safetensors", resumed.tensors())
    for number in range(steps, steps + 3):
        step(model, optimizer, number)
        step(twin, resumed, number)
    assert equal(state_of(model, optimizer), state_of(twin, resumed))
    assert float(resumed.tensors()["unused.weight.step"]) == 0


def test_parameter_count():
    assert parameter_count(nn.Linear(5, 4).parameters()) == 24
