"""Cells against torch's pooling, ridge against scikit-learn's, and what the head can tell."""

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from sklearn.linear_model import Ridge
from toy_samples import ToySamples, shuffled

from jepa.core.errors import ConfigError, DataError
from jepa.core.grid import Grid
from jepa.core.settings import structure
from jepa.evaluation.cells import cell_weights, pool
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.dense import Dense, DenseConfig
from jepa.evaluation.ridge import ridge

GRID = Grid((8, 8), ("y", "x"))
POOLS = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scenes(n: int, seed: int) -> ToySamples:
    """One to four marked tokens among noise; the first of them is at (`y`, `x`).

    A label tells the quadrant of the first.
    """
    draw = rng(seed)
    tokens = 0.1 * torch.randn(n, 64, 6, generator=draw)
    count = torch.randint(1, 5, (n,), generator=draw)
    places = torch.rand(n, 64, generator=draw).argsort(1)
    for sample in range(n):
        tokens[sample, places[sample, : count[sample]], 0] += 2
        tokens[sample, places[sample, 0], 1] += 5
    y, x = places[:, 0] // 8, places[:, 0] % 8
    quantities = {"count": count.double(), "y": y.double(), "x": x.double()}
    return ToySamples(tokens, 2 * (y // 4) + x // 4, 4, GRID, quantities)


def explained(config: DenseConfig, train: ToySamples, test: ToySamples) -> float:
    """Share of the variance of a quantity that is explained."""
    found = Dense(config).predict(train, test, seed=0)
    truth = test.quantity(config.predict)
    return 1 - ((found.values[0] - truth).square().mean() / truth.var(correction=0)).item()


@pytest.mark.parametrize("shape", [(10,), (7, 8), (3, 5, 4)])
@pytest.mark.parametrize("cells", [1, 2, 3, 4, 9])
def test_cells_are_torch_s_adaptive_pooling(shape, cells):
    grid = Grid(shape, "tyx"[-len(shape) :])
    tokens = torch.randn(3, grid.size, 5, generator=rng(0))
    planes = rearrange(tokens, "n N D -> n D N").reshape(3, 5, *shape)
    expected = POOLS[len(shape) - 1](planes, [min(cells, side) for side in shape])
    expected = rearrange(expected.flatten(2), "n D Z -> n (Z D)")
    torch.testing.assert_close(pool(tokens, grid, cells), expected)


def test_pooling_in_parts_of_half_precision_from_a_file(tmp_path):
    tokens = torch.randn(600, 64, 3, generator=rng(0)).half()
    np.save(tmp_path / "tokens.npy", tokens.numpy())
    stored = torch.from_numpy(np.load(tmp_path / "tokens.npy", mmap_mode="r+"))
    found = pool(stored, GRID, 4)
    assert found.dtype == torch.float32
    expected = torch.einsum("zn,bnd->bzd", cell_weights(GRID, 4), tokens.float()).flatten(1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("n", "width"), [(1500, 20), (90, 250), (40, 40)])
def test_ridge_equals_scikit_learn_in_both_forms(n, width):
    features = torch.randn(n, width, generator=rng(0)) * torch.arange(1, width + 1) + 3
    values = features.double() @ torch.randn(width, generator=rng(1)).double() - 50
    values += torch.randn(n, generator=rng(2))
    penalties = (10.0, 1e-1, 1e-3)
    asked = torch.randn(30, width, generator=rng(3)) * torch.arange(1, width + 1) + 3
    for line, l2 in zip(ridge(features, values, penalties), penalties, strict=True):
        oracle = Ridge(alpha=n * l2, solver="svd").fit(features.double().numpy(), values.numpy())
        np.testing.assert_allclose(line.weight, oracle.coef_, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            line.values(asked), oracle.predict(asked.double().numpy()), rtol=1e-5, atol=1e-3
        )


def test_a_count_needs_no_cells_and_a_place_does():
    train, test = scenes(1500, 0), scenes(500, 1)
    for cells in (1, 4):
        assert explained(DenseConfig(predict="count", cells=cells), train, test) > 0.85
    for axis in ("y", "x"):
        assert explained(DenseConfig(predict=axis, cells=1), train, test) < 0.05
        assert explained(DenseConfig(predict=axis, cells=4), train, test) > 0.85
        assert explained(DenseConfig(predict=axis, cells=8), train, test) > 0.93


@pytest.mark.parametrize("predict", [None, "labels"])
def test_classes_that_are_places(predict):
    train, test = scenes(1200, 0), scenes(400, 1)

    def accuracy(cells: int) -> float:
        found = Dense(DenseConfig(predict=predict, cells=cells)).predict(train, test, seed=0)
        assert found.quantity is None
        return (found.values[0] == test.labels).float().mean().item()

    assert accuracy(1) < 0.35
    assert accuracy(2) > 0.95


def test_the_penalty_is_chosen_on_held_out_training_samples():
    """A penalty too strong or too weak costs; the head must find the one between."""

    def noisy(n: int, seed: int) -> ToySamples:
        features = torch.randn(n, 1, 150, generator=rng(seed))
        values = features[:, 0].mean(1).double() + 0.1 * torch.randn(n, generator=rng(seed + 9))
        return ToySamples(features, torch.zeros(n, dtype=torch.int64), quantities={"v": values})

    train, test = noisy(200, 0), noisy(2000, 1)

    def of(*l2: float) -> float:
        return explained(DenseConfig(predict="v", l2=l2), train, test)

    assert of(1.0) > max(of(1e3), of(1e-6)) + 0.1
    assert of(1e3, 1.0, 1e-6) == of(1.0)
    chosen = Dense(DenseConfig(predict="v", l2=(1e3, 1.0, 1e-6))).predict(train, test, 0)
    assert chosen.details == {"l2": 1.0}


@pytest.mark.parametrize("predict", [None, "y"])
def test_test_samples_are_judged_blind(predict):
    train, test = scenes(600, 0), scenes(200, 1)
    candidate = Candidate(name="a", train=(train,), test=(test,))
    (row,) = compare([candidate], {"dense": Dense(DenseConfig(predict=predict))}).rows
    if predict is None:
        assert row.metric == "accuracy"
        assert row.score.value > 0.9
    else:
        assert row.metric == "mean absolute error of y"
        assert row.score.value < 0.7
        assert row.details[0]["r2"] > 0.8


def test_shuffled_labels_give_chance_and_shuffled_values_their_mean():
    train, test = scenes(800, 0), scenes(1000, 1)
    found = Dense(DenseConfig()).predict(shuffled(train), test, seed=0)
    assert abs((found.values[0] == test.labels).float().mean() - 0.25) < 0.08
    order = torch.randperm(800, generator=rng(5))
    mixed = ToySamples(train.tokens(), train.labels, 4, GRID, {"y": train.quantity("y")[order]})
    assert abs(explained(DenseConfig(predict="y"), mixed, test)) < 0.1


def test_the_same_seed_gives_the_same():
    train, test = scenes(300, 0), scenes(100, 1)
    one, other = (Dense(DenseConfig(predict="x")).predict(train, test, 3) for _ in range(2))
    assert torch.equal(one.values, other.values)
    assert one.values.shape == (1, 100)
    assert one.values.dtype == torch.float64


def test_what_cannot_be_predicted_is_named():
    train, test = scenes(50, 0), scenes(20, 1)
    with pytest.raises(DataError, match="weight"):
        Dense(DenseConfig(predict="weight")).predict(train, test, 0)
    values = train.quantity("y").clone()
    values[3] = torch.nan
    broken = ToySamples(train.tokens(), train.labels, 4, GRID, {"y": values})
    with pytest.raises(DataError, match="'y' is not finite in 1 training samples"):
        Dense(DenseConfig(predict="y")).predict(broken, test, 0)


def test_settings_out_of_bounds_are_refused():
    for setting in ({"cells": 0}, {"l2": [0.0]}, {"l2": []}, {"held_out": 1}, {"cell": 2}):
        with pytest.raises(ConfigError):
            structure(setting, DenseConfig)
    assert structure({"predict": None}, DenseConfig) == DenseConfig()
    assert attrs.fields(DenseConfig).cells.default == 4
