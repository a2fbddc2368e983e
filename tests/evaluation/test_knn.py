"""k-NN against scikit-learn, and what it may not know."""

import numpy as np
from sklearn.neighbors import KNeighborsClassifier
from toy_samples import ToySamples, blobs, shuffled

from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.knn import Knn, KnnConfig


def accuracy(train: ToySamples, test: ToySamples, config: KnnConfig | None = None) -> float:
    candidate = Candidate(name="a", train=(train,), test=(test,))
    return compare([candidate], {"knn": Knn(config or KnnConfig())}).rows[0].score.value


def test_equals_scikit_learn_with_the_same_weights():
    train, test = blobs(700, 1), blobs(400, 2)
    oracle = KNeighborsClassifier(
        20, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
    ).fit(np.asarray(train.pooled()), np.asarray(train.labels))
    expected = oracle.predict(test.pooled().numpy())
    ours = Knn(KnnConfig()).predict(train, test, seed=0).values
    assert ours[0].tolist() == expected.tolist()
    found = accuracy(train, test)
    assert found == (expected == test.labels.numpy()).mean()
    assert 0.5 < found < 1


def test_shuffled_labels_give_chance():
    train, test = blobs(1000, 1), blobs(2000, 2)
    assert accuracy(train, test) > 0.5
    assert abs(accuracy(shuffled(train), test) - 0.2) < 0.08
    assert abs(accuracy(train, shuffled(test)) - 0.2) < 0.08
