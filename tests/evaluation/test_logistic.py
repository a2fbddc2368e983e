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
    single, chosen = Logistic(LogisticConfig(l2=(l2,))).classify(*train, test[0], seed=0)
    assert chosen == l2
    assert (single.numpy() == oracle.predict(features)).mean() >= 0.998


def test_the_penalty_is_chosen_by_held_out_training_samples():
    """A penalty too strong or too weak costs accuracy; the probe must find the one between."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (1900,), generator=rng)
    features = torch.randn(1900, 300, generator=rng)
    features[:, 0] += 0.7 * (2 * labels - 1)
    train, test = (features[:900], labels[:900]), (features[900:], labels[900:])

    def accuracy(*l2: float) -> float:
        predicted, _ = Logistic(LogisticConfig(l2=l2)).classify(*train, test[0], seed=0)
        return (predicted == test[1]).float().mean().item()

    assert accuracy(0.1) > max(accuracy(10.0), accuracy(1e-6)) + 0.03
    # Not the scores: the last bits of a fit depend on where it began and on the threads.
    probe = Logistic(LogisticConfig(l2=(10.0, 0.1, 1e-6)))
    assert probe._choose(*train, seed=0)[0] == 0.1


def test_held_out_samples_come_from_every_class():
    labels = torch.tensor([0] * 50 + [1] * 25 + [2] * 10)
    held = hold_out(labels, 5, seed=3)
    assert torch.bincount(labels[held]).tolist() == [10, 5, 2]
    assert torch.equal(held, hold_out(labels, 5, seed=3))
    assert not torch.equal(held, hold_out(labels, 5, seed=4))


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
    plain, _ = Logistic(LogisticConfig()).classify(features, labels, test, seed=0)
    wide = torch.cat([features, torch.full((300, 3), 7.7)], 1)
    padded = torch.cat([test, torch.full((200, 3), 7.7)], 1)
    assert (Logistic(LogisticConfig()).classify(wide, labels, padded, seed=0)[0] == plain).all()
