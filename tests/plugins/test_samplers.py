"""Promises that every mask sampler keeps, on grids of one to three axes, and its symmetry."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sampler_cases import CASES, Case, cases, counts, hidden, make, split

from jepa.core import registry
from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.core.tokens import Masks

EVERY = cases()
PUBLISHED = "multiblock_official"
MIRRORED = [case for case in EVERY if case.name != PUBLISHED]


def joined(parts: list[Masks]) -> Masks:
    return Masks(*map(torch.cat, zip(*parts, strict=True)))


def same(one: Masks, other: Masks) -> bool:
    return all(map(torch.equal, one, other))


def test_every_sampler_is_tested():
    ours = {p.name for p in registry.plugins() if p.kind == "mask_sampler" and p.builtin}
    assert ours == CASES.keys()


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_masks_keep_their_promises(case: Case):
    name, settings, grid = case
    sampler = make(name, grid, **settings)
    for step in range(25):
        masks = sampler.sample(6, Rng(1, step, 6, progress=0.5))
        context, targets = masks
        assert context.dtype == targets.dtype == torch.int64
        assert len(context) == len(targets) == 6
        assert (context.ndim, targets.ndim) == (2, 3)
        for rows in masks:
            assert rows.numel() > 0
            assert rows.is_contiguous()
            assert rows.min() >= 0
            assert rows.max() < grid.size
            assert (rows.diff(dim=-1) > 0).all()
        assert not hidden(masks, grid).gather(1, context).any()


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_masks_are_a_function_of_seed_step_and_view(case: Case):
    name, settings, grid = case
    sampler = make(name, grid, **settings)
    drawn = sampler.sample(32, Rng(1, 3, 32))
    with torch.device("meta"):  # where a run is counted and checked
        assert same(drawn, make(name, grid, **settings).sample(32, Rng(1, 3, 32)))
    again = pickle.loads(pickle.dumps(sampler)).sample(32, Rng(1, 3, 32))
    assert same(drawn, again)
    for other in (Rng(2, 3, 32), Rng(1, 4, 32), Rng(1, 3, 32, view=1)):
        assert not same(drawn, sampler.sample(32, other))


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_masks_do_not_depend_on_who_shares_the_batch(case: Case):
    name, settings, grid = case
    sampler = make(name, grid, **settings)
    (whole,) = split(sampler, 24, 24)
    assert len(whole.context.unique(dim=0)) > 1 or len(whole.targets.unique(dim=0)) > 1
    for size in (12, 4, 1):
        assert same(whole, joined(split(sampler, size, 24)))


@pytest.mark.parametrize("name", ["multiblock", PUBLISHED, "spans", "tube"])
def test_a_group_is_trimmed_together_whoever_shares_it(name: str):
    grid = Grid((14, 14), ("y", "x"))
    sampler = make(name, grid, trim_group=8, **CASES[name][-1])
    together = make(name, grid, **CASES[name][-1])
    assert (sampler.trim_group, together.trim_group) == (8, None)
    differ = 0
    for step in range(10):
        groups, halves = split(sampler, 8, 24, step), split(sampler, 4, 24, step)
        for place, masks in enumerate(groups):
            assert same(masks, joined(halves[2 * place : 2 * place + 2]))
        lengths = {masks.context.shape[1] for masks in groups}
        (whole,) = split(together, 24, 24, step)
        assert whole.context.shape[1] == min(lengths)
        assert whole.targets.shape[2] == min(masks.targets.shape[2] for masks in groups)
        differ += len(lengths) > 1
    assert differ > 2
    with pytest.raises(ValueError, match="cross a border"):
        sampler.sample(12, Rng(6, 2, 12, 0, 24))


@pytest.mark.parametrize("name", sorted(CASES.keys() - {PUBLISHED, "curriculum"}))
def test_four_axes_are_refused(name: str):
    with pytest.raises(ConfigError, match=r"4 x 4 x 4 x 4 \(z, t, y, x\), allowed: 1 to 3 axes"):
        make(name, Grid((4, 4, 4, 4), ("z", "t", "y", "x")))


# --- statistics ---------------------------------------------------------------------------------


@pytest.mark.parametrize("case", MIRRORED, ids=str)
def test_a_place_is_covered_like_its_mirror_image(case: Case):
    """Within 5 standard errors, for each axis; a sample is one draw. Every place is covered."""
    name, settings, grid = case
    batch, steps = 64, 40
    draws = batch * steps
    for found in counts(make(name, grid, **settings), grid, batch, steps):
        # The middle lies in every block of more than half a side.
        assert (found[[0, -1]] if name in ("block", "spans") else found).min() > 0
        share = found.reshape(grid.shape) / draws
        for axis in range(grid.ndim):
            mirrored = np.flip(share, axis)
            error = np.sqrt((share + mirrored) / draws)
            assert (np.abs(share - mirrored) <= 5 * error).all(), f"axis {grid.axes[axis]}"


@pytest.mark.parametrize("name", ["random", "rasterized"])
@pytest.mark.parametrize("grid", [c.grid for c in EVERY if c.name == "rasterized"], ids=str)
def test_samplers_without_blocks_cover_all_places_alike(name: str, grid: Grid):
    """Each place is picked with one and the same chance; 4.5 standard errors."""
    batch, steps = 64, 40
    draws = batch * steps
    for found in counts(make(name, grid), grid, batch, steps):
        chance = found.sum() / grid.size / draws
        error = np.sqrt(chance * (1 - chance) / draws)
        assert (np.abs(found / draws - chance) < 4.5 * error).all()
