"""Logistic regression against scikit-learn, and what it may not know."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from toy_samples import ToySamples, shuffled

from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.logistic import Logistic, LogisticConfig, fit, hold_out, zeros


def blobs(n: int, seed: int, classes: int = 5) -> tuple[Tensor, Tensor]:
    shape = torch.Generator().manual_seed(0)
    centres, mix = torch.randn(classes, 24, generator=shape), torch.randn(24, 24, generator=shape)
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    noise = 1.6 * torch.randn(n, 24, generator=rng)
    return (centres[labels] + noise) @ mix + 30, labels


def probabilities(train: tuple[Tensor, Tensor], asked: Tensor, *l2: float) -> tuple[Tensor, float]:
    probe = Logistic(LogisticConfig(l2=l2) if l2 else LogisticConfig())
    return probe.probabilities(*train, asked, torch.arange(len(train[1])), seed=0)


@pytest.mark.parametrize("l2", [1e-1, 1e-3, 1e-5])
def test_equals_scikit_learn_at_one_penalty(l2):
    train, test = blobs(800, 1), blobs(500, 2)
    scaler = StandardScaler().fit(train[0].double().numpy())
    known, features = (scaler.transform(part.double().numpy()) for part in (train[0], test[0]))
    oracle = LogisticRegression(C=1 / (800 * l2), tol=1e-10, max_iter=10000)
    oracle.fit(known, train[1].numpy())
    head = fit(torch.from_numpy(known), train[1], zeros(torch.from_numpy(known), 5), l2, 1000)
    ours = torch.softmax(head.scores(torch.from_numpy(features)), 1)
    np.testing.assert_allclose(ours.numpy(), oracle.predict_proba(features), atol=1e-3)
    single, chosen = probabilities(train, test[0], l2)
    assert chosen == l2
    np.testing.assert_allclose(single.sum(1).numpy(), 1, atol=1e-5)
    assert (single.argmax(1).numpy() == oracle.predict(features)).mean() >= 0.998


def test_the_penalty_is_chosen_by_held_out_training_samples():
    """A penalty too strong or too weak costs accuracy; the probe must find the one between."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1900,), generator=rng)
    features = torch.randn(1900, 300, generator=rng)
    features[:, 0] += 0.7 * (2 * labels - 1)
    train, test = (features[:900], labels[:900]), (features[900:], labels[900:])

    def accuracy(*l2: float) -> float:
        found, _ = probabilities(train, test[0], *l2)
        return (found.argmax(1) == test[1]).float().mean().item()

    assert accuracy(0.1) > max(accuracy(10.0), accuracy(1e-6)) + 0.03
    # Not the scores: the last bits of a fit depend on where it began and on the threads.
    probe = Logistic(LogisticConfig(l2=(10.0, 0.1, 1e-6)))
    assert probe._choose(*train, torch.arange(900), seed=0)[0] == 0.1


def test_held_out_samples_come_from_every_class():
    labels = torch.tensor([0] * 50 + [1] * 25 + [2] * 10)
    held = hold_out(labels, 5, seed=3)
    assert torch.bincount(labels[held]).tolist() == [10, 5, 2]
    assert torch.equal(held, hold_out(labels, 5, seed=3))
    assert not torch.equal(held, hold_out(labels, 5, seed=4))


def test_groups_are_held_out_as_one():
    labels = torch.tensor([0, 1]).repeat_interleave(60)
    groups = torch.arange(120) // 6 * 7  # 20 groups of 6
    held = hold_out(labels, 5, 3, groups)
    assert held.reshape(20, 6).float().mean(1).unique().tolist() == [0, 1]
    assert torch.bincount(labels[held]).tolist() == [12, 12]
    shuffled = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    assert torch.equal(hold_out(labels[shuffled], 5, 3, groups[shuffled]), held[shuffled])
    alone = hold_out(labels, 5, 3)
    assert torch.equal(hold_out(labels, 5, 3, torch.arange(120)), alone)


@pytest.mark.parametrize(("groups", "marked"), [(2, 1), (3, 1), (4, 1), (5, 1), (10, 2)])
def test_of_few_groups_one_is_held_out(groups, marked):
    """Each group has all classes, as a person who does everything."""
    of = torch.arange(20 * groups) // 20
    labels = torch.arange(20 * groups) % 4
    held = hold_out(labels, 5, 0, of)
    assert len(of[held].unique()) == marked
    assert held.sum() == 20 * marked


@pytest.mark.parametrize(
    ("labels", "groups"),
    [([0, 1] * 30, [7] * 60), ([0] * 30 + [1] * 30, [0] * 30 + [1] * 30)],
    ids=["one group", "one group a class"],
)
def test_where_groups_are_too_few_samples_are_held_out_one_by_one(labels, groups):
    labels, groups = torch.tensor(labels), torch.tensor(groups)
    assert torch.equal(hold_out(labels, 5, 0, groups), hold_out(labels, 5, 0))
    assert hold_out(labels, 5, 0, groups).sum() == 12


def test_each_class_of_two_groups_holds_one_out():
    labels = torch.tensor([0, 1]).repeat_interleave(40)
    groups = torch.arange(80) // 20
    found = {
        tuple(groups[hold_out(labels, 5, seed, groups)].unique().tolist()) for seed in range(9)
    }
    assert all(low in (0, 1) and high in (2, 3) for low, high in found)
    assert len(found) > 1


def test_the_penalty_is_chosen_on_groups_that_the_fit_has_not_seen():
    """Each group has a mark of its own, which tells its class there and nothing elsewhere."""
    rng = torch.Generator().manual_seed(0)
    groups = torch.arange(400) // 20
    labels = groups % 2
    features = torch.randn(400, 80, generator=rng)
    features[:, 0] += 0.8 * (2 * labels - 1)
    features[torch.arange(400), 10 + groups] += 6
    probe = Logistic(LogisticConfig(l2=(1.0, 1e-1, 1e-2, 1e-3, 1e-4)))
    known, alone = (probe._choose(features, labels, g, 0)[0] for g in (groups, torch.arange(400)))
    assert (known, alone) == (1.0, 0.1)


def test_shuffled_labels_give_chance():
    known, asked = (ToySamples(*blobs(n, seed)) for n, seed in ((1000, 1), (2000, 2)))
    probe = {"logistic": Logistic(LogisticConfig())}
    for train, test, least, most in (
        (known, asked, 0.5, 0.95),
        (shuffled(known), asked, 0.12, 0.28),
        (known, shuffled(asked), 0.12, 0.28),
    ):
        candidate = Candidate(name="a", train=(train,), test=(test,))
        assert least < compare([candidate], probe).rows[0].score.value < most


def test_features_that_never_vary_do_no_harm():
    (features, labels), (test, _) = blobs(300, 1), blobs(200, 2)
    plain, _ = probabilities((features, labels), test)
    wide = torch.cat([features, torch.full((300, 3), 7.7)], 1)
    padded = torch.cat([test, torch.full((200, 3), 7.7)], 1)
    found, _ = probabilities((wide, labels), padded)
    assert (found.argmax(1) == plain.argmax(1)).all()
