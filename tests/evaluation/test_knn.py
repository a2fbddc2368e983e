"""k-NN against scikit-learn, and what it may not know."""

import numpy as np
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from jepa.evaluation import knn
from jepa.evaluation.knn import Knn, KnnConfig


def blobs(n: int, seed: int, classes: int = 5, spread: float = 1.5) -> tuple[Tensor, Tensor]:
    centres = torch.randn(classes, 16, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    return centres[labels] + spread * torch.randn(n, 16, generator=rng), labels


def test_equals_scikit_learn_with_the_same_weights():
    train, test = blobs(700, 1), blobs(400, 2)
    oracle = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(*map(np.asarray, train))
    ours = Knn(KnnConfig()).predict(train, test[0])
    assert ours.tolist() == oracle.predict(test[0].numpy()).tolist()
    right = Knn(KnnConfig()).evaluate(train, test, seed=0)
    assert right.dtype == torch.bool
    assert 0.5 < right.float().mean() < 1


def test_chunks_change_nothing(monkeypatch):
    train, test = blobs(300, 1), blobs(101, 2)
    whole = Knn(KnnConfig()).predict(train, test[0])
    monkeypatch.setattr(knn, "_CELLS", 7 * 300)
    assert torch.equal(Knn(KnnConfig()).predict(train, test[0]), whole)


def test_fewer_training_samples_than_k():
    train = (torch.eye(3), torch.tensor([0, 1, 2]))
    assert Knn(KnnConfig(k=20)).evaluate(train, train, seed=0).all()


def test_shuffled_labels_give_chance():
    (features, labels), test = blobs(1000, 1), blobs(2000, 2)
    shuffled = labels[torch.randperm(1000, generator=torch.Generator().manual_seed(3))]
    accuracy = Knn(KnnConfig()).evaluate((features, shuffled), test, seed=0).float().mean()
    assert abs(accuracy - 0.2) < 0.08
