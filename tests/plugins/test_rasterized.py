"""Halves, quadrants and octants: equally large, and every token covered alike."""

import numpy as np
import pytest
from sampler_cases import make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng


@pytest.mark.parametrize(
    ("grid", "tokens"),
    [
        (Grid((12,), ("t",)), 6),
        (Grid((13,), ("t",)), 6),
        (Grid((8, 6), ("y", "x")), 12),
        (Grid((7, 9), ("y", "x")), 12),
        (Grid((3, 4, 5), ("t", "y", "x")), 4),
    ],
    ids=str,
)
def test_one_part_is_context_and_each_other_one_a_target(grid, tokens):
    context, targets = make("rasterized", grid).sample(300, Rng(0, 0, 300))
    assert context.shape == (300, tokens)
    assert targets.shape == (300, 2**grid.ndim - 1, tokens)
    for row, others in zip(context.numpy(), targets.numpy(), strict=True):
        parts = [np.unravel_index(part, grid.shape) for part in (row, *others)]
        for axis, side in enumerate(grid.shape):
            seen = [sorted(set(part[axis].tolist())) for part in parts]
            low, high = sorted({tuple(s) for s in seen})
            assert len(low) == len(high) == side // 2
            assert low[-1] < high[0]
            # An odd axis has one place left out, in one row for all parts.
            assert len(set(range(side)) - set(low) - set(high)) == side % 2
        # In raster order, without the context.
        assert [part[0] for part in others] == sorted(part[0] for part in others)
        assert len({row[0], *(part[0] for part in others)}) == 2**grid.ndim


def test_each_quadrant_is_the_context_as_often():
    context, _ = make("rasterized", Grid((4, 4), ("y", "x"))).sample(4000, Rng(0, 0, 4000))
    corners, counts = np.unique(context[:, 0].numpy(), return_counts=True)
    assert corners.tolist() == [0, 2, 8, 10]
    assert ((counts - 1000) ** 2 / 1000).sum() < 16.3  # 3 degrees of freedom, 0.1%


def test_an_axis_of_one_token_is_refused():
    with pytest.raises(ConfigError, match=r"on the grid 1 x 8 \(t, x\) the axis t has 1 token"):
        make("rasterized", Grid((1, 8), ("t", "x")))
