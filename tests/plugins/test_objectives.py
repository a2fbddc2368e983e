"""Objectives against plain formulas, one number at a time."""

import math

import numpy as np
import pytest
import torch

from jepa.plugins.objectives.regression import L1, L2, Cosine, SmoothL1


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def views(seed=0):
    """Two views: [B, M, T, D] of (2, 4, 3, 5) and (2, 2, 7, 5)."""
    shapes = [(2, 4, 3, 5), (2, 2, 7, 5)]
    predictions = [randn(*shape, seed=seed + i) for i, shape in enumerate(shapes)]
    return predictions, [2 + 3 * randn(*shape, seed=9 + i) for i, shape in enumerate(shapes)]


def plain_normalised(row):
    mean = sum(row) / len(row)
    variance = sum((x - mean) ** 2 for x in row) / len(row)
    return [(x - mean) / math.sqrt(variance + 1e-5) for x in row]


def plain_batch_normalised(h):
    """Each feature over all tokens of the view, one number at a time."""
    columns = h.reshape(-1, h.shape[-1]).T.tolist()
    rows = np.array([plain_normalised(column) for column in columns]).T
    return torch.tensor(rows, dtype=h.dtype).reshape(h.shape)


def plain_loss(predictions, targets, distance, normalise):
    """The mean over everything in a view, then over views."""
    means = []
    for z, h in zip(predictions, targets, strict=True):
        distances = []
        h = plain_batch_normalised(h) if normalise == "batch" else h
        for index in np.ndindex(*z.shape[:3]):
            wanted = h[index].tolist()
            wanted = plain_normalised(wanted) if normalise == "layer" else wanted
            distances += [distance(a - b) for a, b in zip(z[index].tolist(), wanted, strict=True)]
        means.append(sum(distances) / len(distances))
    return sum(means) / len(means)


def smooth(beta):
    return lambda e: 0.5 * e * e / beta if abs(e) < beta else abs(e) - 0.5 * beta


def objective(cls, **settings):
    return cls(cls.Config(**settings))


@pytest.mark.parametrize("normalise", ["layer", "batch", "none"])
@pytest.mark.parametrize(
    ("cls", "settings", "distance"),
    [
        (SmoothL1, {}, smooth(1.0)),
        (SmoothL1, {"beta": 0.25}, smooth(0.25)),
        (SmoothL1, {"beta": 3.0}, smooth(3.0)),
        (L1, {}, abs),
        (L2, {}, lambda e: e * e),
    ],
)
def test_losses_are_the_formulas(cls, settings, distance, normalise):
    predictions, targets = views()
    found = objective(cls, normalise=normalise, **settings)(predictions, targets, [])
    expected = plain_loss(predictions, targets, distance, normalise)
    assert found.total.dtype == torch.float64
    assert float(found.total) == pytest.approx(expected, rel=1e-12)
    assert found.parts == {}


@pytest.mark.parametrize("normalise", ["layer", "batch", "none"])
def test_cosine_is_the_formula(normalise):
    predictions, targets = views()
    means = []
    for z, h in zip(predictions, targets, strict=True):
        h = plain_batch_normalised(h) if normalise == "batch" else h
        far = []
        for index in np.ndindex(*z.shape[:3]):
            wanted = h[index].tolist()
            wanted = plain_normalised(wanted) if normalise == "layer" else wanted
            said = z[index].tolist()
            product = sum(a * b for a, b in zip(said, wanted, strict=True))
            far.append(1 - product / math.hypot(*said) / math.hypot(*wanted))
        means.append(sum(far) / len(far))
    found = objective(Cosine, normalise=normalise)(predictions, targets, []).total
    assert float(found) == pytest.approx(sum(means) / 2, rel=1e-9)


def test_cosine_goes_from_zero_to_two_whatever_the_length():
    (z, _), _ = views()
    plain = objective(Cosine, normalise="none")
    for factor, wanted in ((3.0, 0.0), (-0.1, 2.0)):
        assert float(plain([z], [factor * z], []).total) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("cls", [SmoothL1, L1, L2, Cosine])
def test_views_weigh_the_same_whatever_their_size(cls):
    predictions, targets = views()
    each = [objective(cls)([z], [h], []).total for z, h in zip(predictions, targets, strict=True)]
    both = objective(cls)(predictions, targets, []).total
    torch.testing.assert_close(both, (each[0] + each[1]) / 2)


@pytest.mark.parametrize("cls", [SmoothL1, L1, L2, Cosine])
def test_bf16_is_compared_in_float32(cls):
    predictions, targets = views()
    rounded = [[part.bfloat16() for part in side] for side in (predictions, targets)]
    found = objective(cls)(*rounded, []).total
    assert found.dtype == torch.float32
    exact = objective(cls)(*([part.double() for part in side] for side in rounded), []).total
    assert float(found) == pytest.approx(float(exact), rel=1e-6)


@pytest.mark.parametrize("cls", [SmoothL1, L1, L2])
def test_a_target_s_scale_and_offset_do_not_matter_unless_normalise_is_off(cls):
    predictions, targets = views()
    moved = [7 * h + 5 for h in targets]
    same, other = (objective(cls)(predictions, t, []).total for t in (targets, moved))
    assert float(same) == pytest.approx(float(other), rel=1e-4)
    plain = objective(cls, normalise="none")
    assert float(plain(predictions, moved, []).total) > 2 * float(
        plain(predictions, targets, []).total
    )


def test_as_many_targets_as_predictions():
    predictions, targets = views()
    with pytest.raises(ValueError, match="zip"):
        objective(L2)(predictions, targets[:1], [])
