"""`spiral` keeps the promises of its kind, and its masks are what it says."""

from __future__ import annotations

import pytest
import torch

from jepa.core import ConfigError, Grid, Rng
from jepa.testing import conformance
from jepa_spiral_masks import Spiral, spiral

GRIDS = (Grid((7, 7), ("y", "x")), Grid((6, 9), ("t", "f")), Grid((12, 3), ("y", "x")))


@conformance("mask_sampler", Spiral, grids=GRIDS)
def test_it_keeps_its_promises(check):
    check()


@conformance("mask_sampler", Spiral, grids=GRIDS, settings={"num_targets": 1, "target_share": 0.6})
def test_one_long_run_does_too(check):
    check()


def sample(grid: Grid, batch_size: int = 4000, **settings: float):
    return Spiral(Spiral.Config(**settings), grid=grid).sample(batch_size, Rng(0, 0, batch_size))


def test_a_spiral_by_hand():
    assert spiral(3, 4).tolist() == [0, 1, 2, 3, 7, 11, 10, 9, 8, 4, 5, 6]


@pytest.mark.parametrize("sides", [(1, 1), (1, 5), (5, 1), (2, 2), (4, 7), (9, 9)])
def test_a_spiral_goes_everywhere_once_in_single_steps(sides):
    places = torch.from_numpy(spiral(*sides))
    assert sorted(places.tolist()) == list(range(sides[0] * sides[1]))
    y, x = places // sides[1], places % sides[1]
    assert ((y.diff().abs() + x.diff().abs()) == 1).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_targets_are_runs_on_the_ring(grid):
    order = torch.from_numpy(spiral(*grid.shape))
    place = torch.empty_like(order)
    place[order] = torch.arange(grid.size)
    along = place[sample(grid).targets].sort(dim=2).values  # [B, M, T]
    # On a ring a run has one gap: to itself, round the rest.
    gaps = torch.cat([along.diff(dim=2), along[..., :1] + grid.size - along[..., -1:]], dim=2)
    assert ((gaps > 1).sum(dim=2) == 1).all()


def test_targets_and_context_share_the_grid():
    masks = sample(GRIDS[1], num_targets=3, target_share=0.2)
    assert masks.targets.shape == (4000, 3, 10)
    both = torch.cat([masks.context, masks.targets.flatten(1)], dim=1).sort(dim=1).values
    assert (both == torch.arange(54)).all()


def test_every_token_is_hidden_equally_often():
    batch_size = 20_000
    targets = sample(GRIDS[0], batch_size).targets
    times = torch.bincount(targets.flatten(), minlength=49) / batch_size
    share = 4 * 7 / 49
    # Five deviations of a share over so many samples.
    assert (times - share).abs().max() < 5 * (share * (1 - share) / batch_size) ** 0.5


def test_all_arrangements_are_equally_likely():
    """Two runs of two on a ring of six, and two tokens of context: beside each other, or apart."""
    context = sample(Grid((2, 3), ("y", "x")), 6000, num_targets=2, target_share=0.34, min_keep=1)
    place = torch.tensor([0, 1, 2, 5, 4, 3])  # along the spiral, of each token
    first, second = place[context.context].sort(dim=1).values.unbind(dim=1)
    steps = second - first
    # Of three things in a row after a run: the other run first, second or third.
    together = ((steps == 1) | (steps == 5)).double().mean()
    assert abs(together - 2 / 3) < 0.03
    assert not ((steps == 2) | (steps == 4)).any()


@pytest.mark.parametrize(
    ("grid", "settings", "said"),
    [
        (Grid((24,), ("t",)), {}, "allowed: two axes"),
        (Grid((4, 3, 4), ("t", "y", "x")), {}, "allowed: two axes"),
        (Grid((2, 2), ("y", "x")), {}, "less than one token"),
        (Grid((6, 6), ("y", "x")), {"target_share": 0.25}, "leave 0 of 36 tokens"),
        (Grid((6, 6), ("y", "x")), {"target_share": 0.5}, "leave 0 of 36 tokens"),
        (Grid((6, 6), ("y", "x")), {"min_keep": 17}, "leave 16 of 36 tokens"),
    ],
)
def test_what_cannot_work_is_refused(grid, settings, said):
    with pytest.raises(ConfigError, match=said):
        Spiral(Spiral.Config(**settings), grid=grid)
