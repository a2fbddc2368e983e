"""One target block: a whole block of the scale that is asked for, the context all the rest."""

import numpy as np
import pytest
from sampler_cases import counts, make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

GRIDS = (Grid((60,), ("t",)), Grid((14, 14), ("y", "x")), Grid((6, 7, 5), ("t", "y", "x")))


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_target_is_one_block_and_the_context_all_the_rest(grid):
    sampler = make("block", grid)
    shares = []
    for step in range(100):
        context, targets = sampler.sample(3, Rng(0, step, 3))
        assert targets.shape[1] == 1
        assert context.shape[1] + targets.shape[2] == grid.size
        places = np.stack(np.unravel_index(targets[:, 0].numpy(), grid.shape), axis=-1)
        sides = places.max(axis=1) - places.min(axis=1) + 1
        assert (sides == sides[0]).all()
        assert sides[0].prod() == targets.shape[2]
        shares.append(targets.shape[2] / grid.size)
    assert np.mean(shares) == pytest.approx(0.6, abs=0.03)


def test_places_are_uniform_over_all_corners():
    grid, draws = Grid((9,), ("t",)), 64 * 60
    _, target = counts(make("block", grid, target_scale=[0.34, 0.34]), grid, 64, 60)
    chance = np.array([1, 2, 3, 3, 3, 3, 3, 2, 1]) / 7  # a block of 3 at each of 7 corners
    assert (np.abs(target / draws - chance) < 4.5 * np.sqrt(chance * (1 - chance) / draws)).all()


def test_a_block_that_covers_the_grid_is_refused():
    with pytest.raises(ConfigError, match=r"on the grid 4 x 4 .* block of 4 x 4, which leaves no"):
        make("block", Grid((4, 4), ("y", "x")), target_scale=[0.5, 1.0])
