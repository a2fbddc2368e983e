"""The linear probe of the paper: many heads at once equal heads alone; settings are chosen."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from toy_samples import ToySamples, blobs, shuffled

from jepa.core.errors import ConfigError
from jepa.core.probing import Pool
from jepa.core.settings import structure
from jepa.evaluation import linear
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.heads import Course, Heads, Try, train_heads
from jepa.evaluation.linear import Linear, LinearConfig

TRIES = [Try(0.3, 0.0), Try(3.0, 5e-4), Try(0.05, 1e-2)]


def course(optimizer: str, epochs: int = 3, batch: int = 16) -> Course:
    return Course(optimizer=optimizer, batch=batch, epochs=epochs)


def data() -> tuple[Tensor, Tensor]:
    samples = blobs(100, 4)
    return samples.pooled(), samples.labels


@pytest.mark.parametrize("optimizer", ["lars", "adamw"])
def test_heads_together_equal_heads_alone(optimizer):
    features, labels = data()
    features = features.double()  # AdamW magnifies how products of several heads round
    together = train_heads(features, labels, 5, TRIES, course(optimizer), seed=1)
    for place, one in enumerate(TRIES):
        alone = train_heads(features, labels, 5, [one], course(optimizer), seed=1)
        torch.testing.assert_close(together.weight[place], alone.weight[0])
        torch.testing.assert_close(together.bias[place], alone.bias[0])
    assert not torch.allclose(together.weight[0], together.weight[1], atol=1e-3)


def start_of(features: Tensor, labels: Tensor, seed: int) -> Heads:
    """Heads as they begin: a learning rate of almost nothing."""
    return train_heads(features, labels, 5, [Try(1e-30, 0.0)], course("lars", 1), seed)


def test_adamw_is_torchs():
    features, labels = data()
    lr, decay, epochs = 0.02, 0.1, 4
    ours = train_heads(features, labels, 5, [Try(lr, decay)], course("adamw", epochs, 100), seed=2)
    weight, bias = (part[0].clone().requires_grad_() for part in start_of(features, labels, 2))
    groups = [{"params": [weight], "weight_decay": decay}, {"params": [bias], "weight_decay": 0.0}]
    oracle = torch.optim.AdamW(groups, lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(oracle, epochs)
    for _ in range(epochs):  # the batch is all samples, so the order does not matter
        oracle.zero_grad()
        F.cross_entropy(F.linear(features, weight, bias), labels).backward()
        oracle.step()
        schedule.step()
    torch.testing.assert_close(ours.weight[0], weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.bias[0], bias.detach(), rtol=1e-4, atol=1e-6)


def test_lars_is_the_papers_rule():
    features, labels = data()
    lr, decay, epochs = 5.0, 1e-2, 5
    ours = train_heads(features, labels, 5, [Try(lr, decay)], course("lars", epochs, 100), seed=2)
    weight, bias = (part[0].double() for part in start_of(features, labels, 2))
    x, truth = features.double(), F.one_hot(labels, 5).double()
    speeds = [torch.zeros_like(weight), torch.zeros_like(bias)]
    for step in range(epochs):
        rate = lr * 0.5 * (1 + np.cos(np.pi * step / epochs))
        wrong = (torch.softmax(x @ weight.T + bias, 1) - truth) / len(x)
        gradient = wrong.T @ x + decay * weight
        local = rate * 0.001 * weight.norm() / gradient.norm()
        speeds[0] = 0.9 * speeds[0] + local * gradient
        speeds[1] = 0.9 * speeds[1] + rate * wrong.sum(0)
        weight, bias = weight - speeds[0], bias - speeds[1]
    torch.testing.assert_close(ours.weight[0].double(), weight, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.bias[0].double(), bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["lars", "adamw"])
def test_near_scikit_learns_exact_fit(optimizer):
    train, test = blobs(1500, 1, spread=2.0), blobs(1000, 2, spread=2.0)
    scaler = StandardScaler().fit(train.pooled().numpy())
    oracle = LogisticRegression(max_iter=2000).fit(
        scaler.transform(train.pooled().numpy()), train.labels.numpy()
    )
    exact = oracle.score(scaler.transform(test.pooled().numpy()), test.labels.numpy())
    said = Linear(LinearConfig(optimizer=optimizer)).predict(train, test, seed=0)
    ours = (said.values[0] == test.labels).double().mean().item()
    assert said.details["layers"] == 1
    assert ours > exact - 0.02
    assert 0.5 < exact < 0.95


def test_the_head_is_chosen_on_held_out_training_samples():
    train, test = blobs(600, 1), blobs(300, 2)
    probe = Linear(LinearConfig(optimizer="adamw", lrs=(1e-9, 1e-2), epochs=10))
    assert probe.predict(train, test, 0).details["lr"] == 1e-2
    probe = Linear(LinearConfig(optimizer="adamw", lrs=(1e-2, 1e6), epochs=10))
    assert probe.predict(train, test, 0).details["lr"] == 1e-2


def test_few_samples_get_as_many_steps_as_many_do(monkeypatch):
    """200 samples at batch 32 are 6 steps an epoch: 50 such epochs leave heads half made."""
    courses = []

    def watched(features, labels, classes, tries, course, seed):
        courses.append((course.batch, course.epochs * (len(features) // course.batch)))
        return train_heads(features, labels, classes, tries, course, seed)

    monkeypatch.setattr(linear, "train_heads", watched)
    single = {"layers": (1,), "lrs": (1.0,), "weight_decays": (0.0,), "epochs": 2}
    for n in (200, 3000, 40000):
        Linear(LinearConfig(**single)).predict(blobs(n, 1), blobs(10, 2), 0)
    assert [batch for batch, _ in courses] == [32, 38, 512]
    assert all(2 * 78 - 6 <= steps <= 2 * 80 for _, steps in courses)
    Linear(LinearConfig(batch=32, **single)).predict(blobs(200, 1), blobs(10, 2), 0)
    assert courses[-1] == (32, 2 * 6)


class Layered(ToySamples):
    """The last layer says nothing; the last four say everything."""

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        features = super().pooled()
        noise = torch.randn(features.shape, generator=torch.Generator().manual_seed(5))
        return noise if layers == 1 else torch.cat([features, noise], 1)


def test_layers_are_part_of_the_grid():
    train, test = blobs(600, 1), blobs(300, 2)
    layered = [Layered(part.tokens(), part.labels, 5) for part in (train, test)]
    said = Linear(LinearConfig(epochs=20)).predict(*layered, seed=0)
    assert said.details["layers"] == 4


def test_shuffled_labels_give_chance():
    train, test = blobs(600, 1), blobs(1000, 2)
    probe = {"linear": Linear(LinearConfig(epochs=10))}
    for known, asked, expected in (
        (train, test, 0.9),
        (shuffled(train), test, 0.2),
        (train, shuffled(test), 0.2),
    ):
        candidate = Candidate(name="a", train=(known,), test=(asked,))
        assert abs(compare([candidate], probe).rows[0].score.value - expected) < 0.12


def test_a_class_that_training_lacks_costs_no_crash():
    train, test = blobs(300, 1), blobs(200, 2)
    kept = torch.nonzero(train.labels != 4)[:, 0]
    said = Linear(LinearConfig(epochs=5)).predict(train.take(kept), test, seed=0)
    assert said.values.max() <= 4


def test_bad_settings_are_refused():
    for settings in ({"layers": []}, {"lrs": [0.0]}, {"weight_decays": [-1.0]}, {"epochs": 0}):
        with pytest.raises(ConfigError, match=next(iter(settings))):
            structure(settings, LinearConfig)
