"""What the mean over the tokens hides, and their deviation tells."""

import pytest
import torch
from toy_samples import ToySamples

from jepa.core.grid import Grid
from jepa.evaluation.knn import Knn, KnnConfig
from jepa.evaluation.linear import Linear, LinearConfig
from jepa.evaluation.logistic import Logistic, LogisticConfig


def restless(n: int, seed: int) -> ToySamples:
    """Two classes of equal mean tokens; of the second, half the features vary more."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    waves = torch.randn(n, 8, 6, generator=rng)
    waves -= waves.mean(1, keepdim=True)
    waves[..., :3] *= (1 + 2 * labels)[:, None, None]
    mean = 0.3 * torch.randn(n, 1, 6, generator=rng)
    return ToySamples(mean + waves, labels, grid=Grid((8,), ("t",)))


@pytest.mark.parametrize(
    ("protocol", "config", "settings"),
    [
        (Knn, KnnConfig, {}),
        (Logistic, LogisticConfig, {}),
        (Linear, LinearConfig, {"epochs": 5}),
    ],
    ids=["knn", "logistic", "linear"],
)
def test_deviations_tell_what_the_means_hide(protocol, config, settings):
    train, test = restless(300, 1), restless(200, 2)

    def accuracy(pool):
        probe = protocol(config(pool=pool, **settings))
        predicted = probe.predict(train, test, seed=0).values[0]
        return (predicted == test.labels).double().mean().item()

    assert accuracy("mean") < 0.65
    assert accuracy("mean_std") > 0.9
