"""The measures against their formulas, written out in plain numpy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from jepa.core.health.measures import (
    LIDAR_DELTA,
    alignment,
    drift,
    explained_variance,
    lidar,
    uniformity,
)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def lidar_by_hand(features: np.ndarray) -> float:
    """Section 4 of the paper, step by step, with the matrices at their full size."""
    n, q, dim = features.shape
    means = features.mean(axis=1)
    between = sum(np.outer(m, m) for m in means - means.mean(axis=0)) / (n - 1)
    within = np.zeros((dim, dim))
    for rows, mean in zip(features, means, strict=True):
        within += sum(np.outer(row - mean, row - mean) for row in rows)
    within = within / (n * (q - 1)) + LIDAR_DELTA * np.eye(dim)
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    found = np.clip(np.linalg.eigvalsh(root @ between @ root), 0, None)
    share = found / found.sum()
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize(("n", "q", "dim"), [(12, 3, 5), (6, 4, 9), (30, 2, 30)])
def test_lidar_is_the_papers(n, q, dim):
    samples = drawn(n, 1, dim) * torch.linspace(0.1, 2, dim)
    features = (samples + 0.3 * drawn(n, q, dim, seed=1)).double()
    assert lidar(features).item() == pytest.approx(lidar_by_hand(features.numpy()), rel=1e-6)


def test_lidar_counts_directions_that_tell_samples_apart():
    """Three directions hold the samples; in the others versions differ as much as samples do."""
    samples = torch.zeros(200, 1, 16)
    samples[..., :3] = drawn(200, 1, 3)
    noise = torch.full((16,), 1.0)
    noise[:3] = 0.01
    features = samples + noise * drawn(200, 8, 16, seed=1)
    assert lidar(features).item() == pytest.approx(3, abs=0.3)


def test_lidar_of_equal_samples_and_of_broken_ones():
    assert lidar(torch.ones(5, 3, 4)).item() == 0
    assert math.isnan(lidar(torch.full((5, 3, 4), torch.nan)).item())


def test_alignment_and_uniformity_are_their_formulas():
    first, second = drawn(7, 5), drawn(7, 5, seed=1)
    x = first.numpy() / np.linalg.norm(first, axis=1, keepdims=True)
    y = second.numpy() / np.linalg.norm(second, axis=1, keepdims=True)
    assert alignment(first, second).item() == pytest.approx(((x - y) ** 2).sum(1).mean(), rel=1e-5)
    pairs = [((x[i] - x[j]) ** 2).sum() for i in range(7) for j in range(7) if i != j]
    expected = math.log(np.exp(-2 * np.array(pairs)).mean())
    assert uniformity(first).item() == pytest.approx(expected, rel=1e-5)


def test_alignment_and_uniformity_at_their_ends():
    x = drawn(6, 4)
    assert alignment(x, 3 * x).item() == pytest.approx(0, abs=1e-12)
    assert alignment(x, -x).item() == pytest.approx(4)
    assert uniformity(torch.ones(6, 4)).item() == pytest.approx(0, abs=1e-12)
    assert uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])).item() == pytest.approx(-8)


def test_explained_variance_by_hand_over_views():
    targets = [drawn(4, 2, 3, 5), drawn(4, 1, 2, 5, seed=1)]
    predictions = [t + 0.5 * drawn(*t.shape, seed=2) for t in targets]
    t = np.concatenate([x.numpy().reshape(-1, 5) for x in targets])
    p = np.concatenate([x.numpy().reshape(-1, 5) for x in predictions])
    expected = 1 - ((t - p) ** 2).sum() / ((t - t.mean(0)) ** 2).sum()
    assert explained_variance(predictions, targets).item() == pytest.approx(expected, rel=1e-6)


def test_explained_variance_of_the_mean_is_zero_and_of_the_truth_one():
    targets = [drawn(4, 2, 3, 5)]
    mean = [targets[0].mean(dim=(0, 1, 2)).expand_as(targets[0])]
    assert explained_variance(mean, targets).item() == pytest.approx(0, abs=1e-6)
    assert explained_variance(targets, targets).item() == 1


def test_drift_is_relative_to_the_online_weights():
    online, target = nn.Linear(4, 3), nn.Linear(4, 3)
    target.load_state_dict({name: 1.1 * value for name, value in online.state_dict().items()})
    assert drift(target, online).item() == pytest.approx(0.1, rel=1e-5)
    assert drift(online, online).item() == 0
