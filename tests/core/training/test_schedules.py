"""Schedules against the recipe's formulas, written out again."""

import math

import attrs
import pytest
import torch
from torch import nn

from jepa.core.config import OptimConfig, TrainConfig, load_run
from jepa.core.errors import ConfigError
from jepa.core.training.schedules import Schedules
from jepa.plugins.targets.ema import Ema

PUBLISHED = {  # epochs, warm-up epochs, training images
    "vitb16": (600, 15, 1_281_167),
    "vitl16": (600, 15, 1_281_167),
    "vith14": (300, 40, 1_281_167),
    "vith16_448": (300, 40, 1_281_167),
    "vith14_in22k": (66, 3, 14_197_122),
    "vitg16_in22k": (44, 3, 14_197_122),
}


@attrs.frozen
class Recipe:
    """recipe.md, section Schedules. t counts from 1, i from 0, n is the steps of an epoch."""

    epochs: float
    warmup_epochs: float
    n: int
    scale: float = 1.0

    def lr(self, t, start=2e-4, ref=1e-3, final=1e-6):
        warmup = int(self.warmup_epochs * self.n)
        whole = int(self.scale * self.epochs * self.n)
        if t < warmup:
            return start + (t / warmup) * (ref - start)
        share = (t - warmup) / (whole - warmup)
        return final + (ref - final) * 0.5 * (1 + math.cos(math.pi * share))

    def weight_decay(self, t, ref=0.04, final=0.4):
        whole = int(self.scale * self.epochs * self.n)
        return final + (ref - final) * 0.5 * (1 + math.cos(math.pi * t / whole))

    def momentum(self, i, m0=0.996, m1=1.0):
        return m0 + i * (m1 - m0) / (self.scale * self.epochs * self.n)


def schedules(epochs, warmup_epochs, n, *, scale=1.0, max_steps=None, **optim):
    train = TrainConfig(global_batch=64, epochs=epochs, schedule_scale=scale, max_steps=max_steps)
    return Schedules(OptimConfig(warmup_epochs=warmup_epochs, **optim), train, n)


def momentum(found, i, config=None):
    """What the trainer's call of Ema.update uses at step i."""
    network = nn.Linear(1, 1)
    updater = Ema(config or Ema.Config())
    moved = updater.update(network, nn.Linear(1, 1), found.progress(i), torch.ones(()))
    return moved["momentum"]


@pytest.mark.parametrize(
    ("epochs", "warmup_epochs", "n", "scale"),
    [(6, 2, 7, 1.0), (6, 0, 7, 1.0), (3.5, 0.5, 9, 1.0), (5, 1, 8, 1.25), (1, 0.3, 11, 1.13)],
)
def test_every_step_of_a_short_run(epochs, warmup_epochs, n, scale):
    found = schedules(epochs, warmup_epochs, n, scale=scale)
    recipe = Recipe(epochs, warmup_epochs, n, scale)
    assert found.total_steps == int(epochs * n)
    for step in range(found.total_steps):
        t = step + 1
        assert found.lr(t) == pytest.approx(recipe.lr(t), rel=1e-12)
        assert found.weight_decay(t) == pytest.approx(recipe.weight_decay(t), rel=1e-12)
        assert momentum(found, step) == pytest.approx(recipe.momentum(step), rel=1e-12)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs(name):
    epochs, warmup, images = PUBLISHED[name]
    config = load_run(f"image/{name}")
    n = images // 2048
    found, recipe = Schedules(config.optim, config.train, n), Recipe(epochs, warmup, n)
    assert found.total_steps == epochs * n
    ema = config.model.target.config
    around = [0, 1, 2, warmup * n - 2, warmup * n - 1, warmup * n, warmup * n + 1]
    for i in [*around, epochs * n // 3, epochs * n // 2, epochs * n - 2, epochs * n - 1]:
        assert found.lr(i + 1) == pytest.approx(recipe.lr(i + 1), rel=1e-12)
        assert found.weight_decay(i + 1) == pytest.approx(recipe.weight_decay(i + 1), rel=1e-12)
        assert momentum(found, i, ema) == pytest.approx(recipe.momentum(i), rel=1e-12)


@pytest.mark.parametrize("name", ["vjepa_vitl16", "vjepa_vith16"])
def test_v_jepa_s_schedules(name):
    # recipe.md, section 2: 300 epochs of 300 steps whatever the data set, stretched by 1.25.
    config = load_run(f"video/{name}")
    n = config.train.steps_per_epoch
    assert (n, config.train.global_batch, config.optim.clip_grad) == (300, 3072, 10.0)
    found, recipe = Schedules(config.optim, config.train, n), Recipe(300, 40, 300, 1.25)
    assert found.total_steps == 90_000
    ema = config.model.target.config
    for i in (0, 1, 11_998, 11_999, 12_000, 45_000, 89_999):
        assert found.lr(i + 1) == pytest.approx(recipe.lr(i + 1, ref=6.25e-4), rel=1e-12)
        assert found.weight_decay(i + 1) == pytest.approx(recipe.weight_decay(i + 1), rel=1e-12)
        assert momentum(found, i, ema) == pytest.approx(recipe.momentum(i, m0=0.998), rel=1e-12)
    # The epochs 0 to 40 go by without clipping, then encoder and predictor are clipped apart.
    assert config.optim.clip_of == "parts"
    assert [found.clips(t) for t in (1, 12_001, 41 * 300, 41 * 300 + 1)] == [False] * 3 + [True]


def test_the_ends_of_a_published_schedule():
    found = schedules(300, 40, 625)
    assert found.warmup == 25_000
    assert found.lr(25_000) == 1e-3
    assert found.lr(1) == pytest.approx(2e-4 + 8e-4 / 25_000)
    assert found.lr(187_500) == pytest.approx(1e-6)
    assert found.weight_decay(187_500) == pytest.approx(0.4)
    assert (momentum(found, 0), momentum(found, 187_500)) == (0.996, 1.0)


@pytest.mark.parametrize(
    ("epochs", "n", "first"), [(0.0, 7, 1), (2.0, 7, 15), (0.5, 7, 4), (41, 300, 12_301)]
)
def test_clipping_begins_once_its_epochs_are_done(epochs, n, first):
    found = schedules(300, 1, n, clip_from_epoch=epochs)
    clipped = [found.clips(t) for t in range(1, first + 20)]
    assert clipped == [False] * (first - 1) + [True] * 20


def test_stopping_early_keeps_the_schedules():
    whole, short = schedules(10, 1, 20), schedules(10, 1, 20, max_steps=30)
    assert (whole.total_steps, short.total_steps) == (200, 30)
    for t in range(1, 31):
        assert short.lr(t) == whole.lr(t)
        assert short.weight_decay(t) == whole.weight_decay(t)
        assert short.progress(t - 1) == whole.progress(t - 1)
    assert schedules(10, 1, 20, max_steps=1000).total_steps == 200


def test_without_epochs_max_steps_are_the_length():
    found, recipe = schedules(None, 0.5, 10, max_steps=30), Recipe(3, 0.5, 10)
    assert (found.total_steps, found.length, found.warmup) == (30, 30, 5)
    for t in range(1, 31):
        assert found.lr(t) == pytest.approx(recipe.lr(t), rel=1e-12)
        assert found.progress(t - 1) == pytest.approx((t - 1) / 30)


def test_schedule_scale_stretches_schedules_and_not_training():
    found = schedules(4, 1, 10, scale=1.25)
    assert (found.total_steps, found.length, found.warmup) == (40, 50, 10)
    assert found.lr(40) > 1e-4
    assert found.progress(40) == pytest.approx(0.8)


def test_nothing_moves_on_beyond_the_end():
    found = schedules(4, 1, 10, scale=0.5)  # schedules that end before training does
    assert found.length == 20
    for t in (20, 21, 33, 40):
        assert found.lr(t) == pytest.approx(1e-6)
        assert found.weight_decay(t) == pytest.approx(0.4)
        assert found.progress(t) == 1.0


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("linear", 0.25), ("sqrt", 0.5)])
def test_lr_scaling(scaling, factor):
    # 64 samples a step, where the learning rates are meant for 256.
    found = schedules(3, 1, 10, reference_batch=256, lr_scaling=scaling)
    same = schedules(3, 1, 10, lr_scaling=scaling)
    for t in (1, 5, 10, 20, 30):
        assert same.lr(t) == pytest.approx(Recipe(3, 1, 10).lr(t), rel=1e-12)
        assert found.lr(t) == pytest.approx(factor * same.lr(t), rel=1e-12)
        assert found.weight_decay(t) == same.weight_decay(t)


@pytest.mark.parametrize(
    ("epochs", "warmup_epochs", "max_steps"), [(3, 3, None), (3, 4, None), (None, 1, 10)]
)
def test_a_warm_up_as_long_as_the_schedule_is_refused(epochs, warmup_epochs, max_steps):
    steps, whole = 10 * warmup_epochs, max_steps or 10 * epochs
    message = (
        f"optim.warmup_epochs: found {warmup_epochs} epochs, {steps} steps, "
        f"allowed: less than the schedule's {whole} steps"
    )
    with pytest.raises(ConfigError, match=message):
        schedules(epochs, warmup_epochs, 10, max_steps=max_steps)
