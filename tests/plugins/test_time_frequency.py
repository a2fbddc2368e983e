"""Bands along axes: every choice of axes as likely, bands of the widths that are asked for."""

from collections import Counter

import numpy as np
import pytest
from sampler_cases import counts, hidden, make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

GRID = Grid((30, 12), ("t", "f"))
VIDEO = Grid((8, 10, 12), ("t", "y", "x"))


def bands(places: np.ndarray) -> dict[int, np.ndarray]:
    """The axes with a band, and its places: a line of the grid is all target there."""
    found = {}
    for axis in range(places.ndim):
        others = tuple(k for k in range(places.ndim) if k != axis)
        full = np.flatnonzero(places.all(axis=others))
        if full.size:
            found[axis] = full
    return found


@pytest.mark.parametrize(
    ("grid", "axes", "choices"),
    [
        (GRID, None, {(0,), (1,), (0, 1)}),
        (GRID, ["f"], {(1,)}),
        (VIDEO, ["x", "t"], {(0,), (2,), (0, 2)}),
        (VIDEO, None, {(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)}),
    ],
    ids=str,
)
def test_every_choice_of_axes_is_as_likely(grid, axes, choices):
    sampler = make("time_frequency", grid, axes=axes)
    steps = 1400
    seen: Counter[tuple[int, ...]] = Counter()
    for step in range(steps):
        masks = sampler.sample(2, Rng(0, step, 2))
        places = hidden(masks, grid).numpy().reshape(2, *grid.shape)
        first, second = (bands(each) for each in places)
        assert first.keys() == second.keys()
        union = np.zeros(grid.shape, dtype=bool)
        for axis, full in first.items():
            assert (np.diff(full) == 1).all(), "a band is contiguous"
            low, high = (round(s * grid.shape[axis] + 1e-9) for s in (0.2, 0.4))
            assert max(low - 1, 1) <= len(full) <= high + 1
            np.moveaxis(union, axis, 0)[full] = True
        assert (union == places[0]).all(), "and there is nothing besides the bands"
        assert masks.context.shape[1] == grid.size - union.sum()
        seen[tuple(first)] += 1
    assert seen.keys() == choices
    expected = steps / len(choices)
    # 6 degrees of freedom at most; 0.1%
    assert sum((n - expected) ** 2 / expected for n in seen.values()) < 22.5


def test_bands_lie_anywhere_on_their_axis():
    grid, draws = Grid((9, 4), ("t", "f")), 64 * 60
    sampler = make("time_frequency", grid, axes=["t"], scale=[0.34, 0.34])
    _, target = counts(sampler, grid, 64, 60)
    chance = np.array([1, 2, 3, 3, 3, 3, 3, 2, 1]) / 7  # 3 places at each of 7 starts
    rows = target.reshape(9, 4) / draws
    assert (rows == rows[:, :1]).all()
    error = np.sqrt(chance * (1 - chance) / draws)
    assert (np.abs(rows[:, 0] - chance) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("shape", "config", "message"),
    [
        ((8, 8), {"axes": ["f", "q"]}, r"axes: on the grid .* found 'q', allowed: f, t"),
        ((8, 8), {"axes": []}, "allowed: one or more axes, each once"),
        ((8, 8), {"axes": ["t", "t"]}, "allowed: one or more axes, each once"),
        ((8, 8), {"scale": [0.5, 0.95]}, r"0.95 of the axis t is 8 of its 8 places"),
        ((1, 8), {}, r"0.4 of the axis t is 1 of its 1 places, which leaves no context"),
    ],
)
def test_what_the_grid_cannot_satisfy_is_refused(shape, config, message):
    with pytest.raises(ConfigError, match=message):
        make("time_frequency", Grid(shape, ("t", "f")), **config)


def test_an_axis_of_one_place_can_be_left_out():
    masks = make("time_frequency", Grid((1, 8), ("t", "f")), axes=["f"]).sample(3, Rng(0, 0, 3))
    assert masks.context.shape[1] + masks.targets.shape[2] == 8
