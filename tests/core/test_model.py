"""The step's loss and gradients against the recipe, written out again without a batch."""

import attrs
import numpy as np
import pytest
import torch
from plain_step import (
    AT,
    CHANNELS,
    COLUMNS,
    DEPTH,
    DIM,
    HEADS,
    ORDER,
    PATCH,
    PREDICTOR_HEADS,
    ROWS,
    WIDTH,
    plain_loss,
)
from torch import nn

from jepa.core.errors import ConfigError
from jepa.core.interfaces import InputSpec, Regularizer
from jepa.core.model import JEPA, Backbone, evaluating
from jepa.core.tokens import Loss, Masks
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.objectives.regression import L1, L2, SmoothL1
from jepa.plugins.predictors.vit import ViTPredictor
from jepa.plugins.targets.ema import Ema
from jepa.plugins.targets.online import Online
from jepa.plugins.tokenizers.patch import PatchTokenizer

SPEC = InputSpec((CHANNELS, ROWS * PATCH, COLUMNS * PATCH), ("y", "x"))


@attrs.frozen(kw_only=True)
class Options:
    """What differs between the models of the tests."""

    objective: nn.Module = attrs.field(factory=lambda: SmoothL1(SmoothL1.Config()))
    updater: Ema | Online = attrs.field(factory=lambda: Ema(Ema.Config(start=0.75, end=1.0)))
    token_a_view: bool = False
    drop_path: float = 0.0
    activation_checkpointing: bool = False
    regularizers: dict[str, Regularizer] = attrs.field(factory=dict)


def model_of(options):
    """A model in float64 with every parameter far from its start, the target's too."""
    shared = {
        "drop_path": options.drop_path,
        "activation_checkpointing": options.activation_checkpointing,
        "position_order": ORDER,
    }
    encoder = ViTEncoder.Config(depth=DEPTH, heads=HEADS, **shared)
    predictor = ViTPredictor.Config(
        depth=DEPTH, dim=WIDTH, heads=PREDICTOR_HEADS, token_a_view=options.token_a_view, **shared
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(PATCH, PATCH)), spec=SPEC, dim=DIM)
        backbone = Backbone(tokenizer, ViTEncoder(encoder, grid=tokenizer.grid, dim=DIM), DIM, SPEC)
        model = JEPA(
            prepare=nn.Identity(),
            backbone=backbone,
            predictor=ViTPredictor(
                predictor, grid=tokenizer.grid, dim=DIM, target_dim=DIM, views=2
            ),
            target=options.updater.make_target(backbone),
            objective=options.objective,
            regularizers=options.regularizers,
        ).double()
    drawn = np.random.default_rng(11)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.from_numpy(drawn.normal(size=parameter.shape)) * 0.3
    return model.train()


def step_of(seed=5, batch=2):
    """Inputs and two views: 4 blocks of 3 tokens and 7 context tokens, 2 of 5 and 6."""
    drawn = np.random.default_rng(seed)

    def rows(count):
        return np.stack([np.sort(drawn.permutation(len(AT))[:count]) for _ in range(batch)])

    def view(context, blocks, size):
        targets = np.stack([rows(size) for _ in range(blocks)], axis=1)
        return Masks(torch.from_numpy(rows(context)), torch.from_numpy(targets))

    inputs = torch.from_numpy(drawn.normal(size=(batch, *SPEC.shape)))
    return inputs, (view(7, 4, 3), view(6, 2, 5))


def leaves(module):
    return {name: p.detach().clone().requires_grad_() for name, p in module.named_parameters()}


def plain_step(model, inputs, views, distance, token_a_view=False):
    """Loss and gradients by name of the plain step with the model's weights."""
    online, predictor = leaves(model.backbone), leaves(model.predictor)
    target = {name: p.detach() for name, p in model.target.backbone.named_parameters()}
    loss = plain_loss(inputs, views, online, target, predictor, distance, token_a_view)
    loss.backward()
    grads = {f"backbone.{name}": p.grad for name, p in online.items()}
    return loss, {**grads, **{f"predictor.{name}": p.grad for name, p in predictor.items()}}


def check_step(model, distance, token_a_view=False):
    inputs, views = step_of()
    found = model(inputs, views)
    found.total.backward()
    loss, grads = plain_step(model, inputs, views, distance, token_a_view)
    torch.testing.assert_close(found.total, loss, rtol=1e-9, atol=0)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert trained.keys() == grads.keys()
    for name, parameter in trained.items():
        scale = float(grads[name].abs().max())
        assert scale > 0, name
        torch.testing.assert_close(
            parameter.grad,
            grads[name],
            rtol=1e-9,
            atol=1e-9 * scale,
            msg=lambda m, n=name: f"{n}: {m}",
        )


def smooth(error, beta):
    size = error.abs()
    return torch.where(size < beta, 0.5 * error**2 / beta, size - 0.5 * beta)


@pytest.mark.parametrize(
    ("objective", "distance"),
    [
        (SmoothL1(SmoothL1.Config()), lambda e: smooth(e, 1.0)),
        (SmoothL1(SmoothL1.Config(beta=0.3)), lambda e: smooth(e, 0.3)),
        (L1(L1.Config()), torch.abs),
        (L2(L2.Config()), torch.square),
    ],
    ids=["smooth_l1", "smooth_l1_beta", "l1", "l2"],
)
def test_loss_and_gradients_equal_the_plain_step_s(objective, distance):
    model = model_of(Options(objective=objective))
    check_step(model, distance)
    assert all(p.grad is None and not p.requires_grad for p in model.target.parameters())


def test_a_mask_token_a_view():
    model = model_of(Options(token_a_view=True))
    assert model.predictor.mask_token.shape == (2, 1, WIDTH)
    check_step(model, lambda e: smooth(e, 1.0), token_a_view=True)


def test_the_online_target_stops_the_gradient():
    model = model_of(Options(updater=Online(Online.Config())))
    assert model.target.backbone is model.backbone
    assert not list(model.target.parameters())
    check_step(model, lambda e: smooth(e, 1.0))


@pytest.mark.parametrize("drop_path", [0.0, 0.4])
def test_activation_checkpointing_changes_no_gradient(drop_path):
    inputs, views = step_of()
    found = []
    for checkpointing in (False, True):
        model = model_of(Options(drop_path=drop_path, activation_checkpointing=checkpointing))
        with torch.random.fork_rng():
            torch.manual_seed(2)
            loss = model(inputs, views).total
            loss.backward()
        found.append([loss, *(p.grad for p in model.parameters() if p.requires_grad)])
    for plain, checkpointed in zip(*found, strict=True):
        assert torch.equal(plain, checkpointed)
    if drop_path:
        kept_whole = model_of(Options())(inputs, views).total
        assert not torch.isclose(found[0][0], kept_whole, rtol=1e-6)


class MeanContext(Regularizer):
    """The mean of the encoded context, times a weight."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def forward(self, predictions, targets, context):
        mean = torch.stack([c.mean() for c in context]).mean()
        return Loss(self.weight * mean, {"mean": mean.detach()})


def test_regularizers_add_to_the_loss_and_to_the_log():
    inputs, views = step_of()
    alone = model_of(Options())(inputs, views)
    model = model_of(Options(regularizers={"one": MeanContext(1.0), "two": MeanContext(3.0)}))
    both = model(inputs, views)
    found = model.represent(inputs, views)
    mean = (found.context[0].mean() + found.context[1].mean()) / 2
    torch.testing.assert_close(both.total, alone.total + 4 * mean)
    assert alone.parts == {}
    expected = {
        "objective": alone.total, "one": mean, "one/mean": mean, "two": 3 * mean, "two/mean": mean
    }  # fmt: skip
    assert both.parts.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(both.parts[name], value, msg=name)
        assert not both.parts[name].requires_grad


def test_represent_has_the_shapes_that_it_promises():
    inputs, views = step_of()
    found = model_of(Options()).represent(inputs, views)
    shapes = [[tuple(part.shape) for part in side] for side in found]
    assert shapes[0] == shapes[1] == [(2, 4, 3, DIM), (2, 2, 5, DIM)]
    assert shapes[2] == [(2, 7, DIM), (2, 6, DIM)]


@pytest.mark.parametrize("positions", ["extend", "interpolate"])
def test_a_backbone_takes_another_size_and_comes_back(positions):
    def backbone(shape, mode):
        spec = InputSpec(shape, ("y", "x"))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            tokenizer = PatchTokenizer(PatchTokenizer.Config(size=(2, 2)), spec=spec, dim=DIM)
            config = ViTEncoder.Config(depth=1, heads=2, positions=mode)
            encoder = ViTEncoder(config, grid=tokenizer.grid, dim=DIM)
            return Backbone(tokenizer, encoder, DIM, spec).eval()

    drawn = np.random.default_rng(0)
    small = torch.from_numpy(drawn.normal(size=(2, 3, 8, 10))).float()
    large = torch.from_numpy(drawn.normal(size=(2, 3, 14, 6))).float()
    network, built_there = backbone((3, 8, 10), positions), backbone((3, 14, 6), positions)
    before = network(small)
    there = network(large)
    assert there.shape == (2, 21, DIM)
    assert torch.equal(there, built_there(large)) == (positions == "extend")
    assert torch.equal(network.layers(large, [-1])[0], there)
    assert torch.equal(network(small), before)
    with pytest.raises(
        ConfigError, match=r"patches of \[2, 2\] do not divide an input of \[9, 10\]"
    ):
        network(torch.zeros(1, 3, 9, 10))
    assert torch.equal(network(small), before)


def test_evaluating_gives_every_module_its_own_mode_back():
    network = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout(), nn.Dropout())).train()
    network[1][0].eval()
    modes = [module.training for module in network.modules()]
    with evaluating(network):
        assert not any(module.training for module in network.modules())
    assert [module.training for module in network.modules()] == modes
