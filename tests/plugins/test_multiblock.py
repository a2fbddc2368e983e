"""Multi-block masks: promises on every grid, and statistics against what theory says."""

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.core.settings import structure
from jepa.core.tokens import Masks
from jepa.plugins.masks.multiblock import Multiblock

AXES = {1: ("t",), 2: ("y", "x"), 3: ("t", "y", "x")}


def grid_of(*shape: int) -> Grid:
    return Grid(shape, AXES[len(shape)])


def sampler(grid: Grid, **config) -> Multiblock:
    return Multiblock(Multiblock.Config(**config), grid=grid)


def assert_promises(masks: Masks, grid: Grid, batch: int, config: Multiblock.Config) -> None:
    context, targets = masks
    assert context.dtype == targets.dtype == torch.int64
    assert targets.shape[:2] == (batch, config.num_targets)
    assert context.shape[0] == batch
    assert context.shape[1] >= config.min_keep
    assert config.keep is None or context.shape[1] == config.keep
    assert targets.shape[2] > 0
    for rows in (context, targets):
        assert rows.min() >= 0
        assert rows.max() < grid.size
        assert (rows.diff(dim=-1) > 0).all()
    hidden = torch.zeros(batch, grid.size, dtype=torch.bool)
    hidden.scatter_(1, targets.flatten(1), True)
    assert not hidden.gather(1, context).any()
    assert_blocks(targets, grid)


def assert_blocks(targets: torch.Tensor, grid: Grid) -> None:
    """Each target is one whole block, and all have the same sides."""
    places = np.stack(np.unravel_index(targets.numpy(), grid.shape), axis=-1)
    sides = places.max(axis=2) - places.min(axis=2) + 1
    assert (sides == sides[0, 0]).all()
    assert sides[0, 0].prod() == targets.shape[2]


# --- promises on every grid ---------------------------------------------------------------------


@st.composite
def shapes(draw):
    axes = draw(st.sampled_from([1, 2, 2, 2, 3]))
    low, high = {1: (2, 200), 2: (3, 40), 3: (1, 12)}[axes]
    return tuple(draw(st.integers(low, high)) for _ in range(axes))


def ranges(low: float, high: float):
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda r: tuple(sorted(r)))


PAPER = {
    field.name: field.default
    for field in attrs.fields(Multiblock.Config)
    if field.name not in ("keep", "trim_group")
}


@pytest.mark.slow
@given(
    shape=shapes(),
    num_targets=st.integers(1, 6),
    target_scale=st.one_of(st.just((0.15, 0.2)), ranges(0.02, 1.0)),
    target_aspect=st.one_of(st.just((0.75, 1.5)), ranges(0.3, 3.0)),
    context_scale=st.one_of(st.just((0.85, 1.0)), ranges(0.05, 1.0)),
    context_aspect=st.one_of(st.just((1.0, 1.0)), ranges(0.3, 3.0)),
    min_keep=st.integers(1, 30),
    trim=st.sampled_from(["subset", "side"]),
    spare=st.one_of(st.none(), st.integers(0, 20)),
    batch=st.integers(1, 9),
)
@example(shape=(3, 3), spare=None, batch=9, **PAPER | {"min_keep": 8})
@example(shape=(40, 40), spare=None, batch=9, **PAPER | {"trim": "side"})
@example(shape=(40, 40), spare=700, batch=9, **PAPER)
@settings(max_examples=120, deadline=None)
def test_ends_and_keeps_its_promises_or_is_refused(shape, batch, spare, min_keep, **config):
    keep = None if spare is None else min_keep + spare
    config = Multiblock.Config(min_keep=min_keep, keep=keep, **config)
    grid = grid_of(*shape)
    refusal = None
    try:
        sample = Multiblock(config, grid=grid).sample
    except ConfigError as error:
        refusal = str(error)
    if refusal is not None:
        assert f"asks for {min_keep if keep is None else keep}" in refusal
        return
    for step in range(3):
        assert_promises(sample(batch, Rng(1, step, batch)), grid, batch, config)


@pytest.mark.slow
def test_the_papers_settings_on_every_grid_from_3x3_to_40x40():
    refused = []
    for height in range(3, 41):
        for width in range(3, 41):
            grid, config = grid_of(height, width), Multiblock.Config()
            try:
                sample = Multiblock(config, grid=grid).sample
            except ConfigError:
                refused.append((height, width))
                continue
            assert_promises(sample(3, Rng(height, width, 3)), grid, 3, config)
    # Ten tokens beside the largest target that the grid can draw: only the smallest lack them.
    assert all(height * width <= 16 for height, width in refused)
    assert (3, 3) in refused


def test_a_setting_of_which_any_draw_is_impossible_is_refused_and_the_next_works():
    """On 6 x 6 the context is at least 6 x 6 and the target at most 3 x 3: 27 tokens, no more."""
    fixed = {"context_scale": (1.0, 1.0), "target_scale": (0.25, 0.25), "target_aspect": (1.0, 1.0)}
    grid = grid_of(6, 6)
    for name in ("min_keep", "keep"):
        with pytest.raises(ConfigError, match=r"at most 27 context tokens.*asks for 28") as refused:
            sampler(grid, **{name: 28}, **fixed)
        assert "6 x 6 (y, x)" in str(refused.value)
        assert "3 x 3" in str(refused.value)
        masks = sampler(grid, **{name: 27}, **fixed).sample(64, Rng(0, 0, 64))
        assert masks.context.shape == (64, 27)


def test_the_last_resort_favours_no_corner():
    """27 of 36 leaves no choice but opposite corners or one place for all targets."""
    fixed = {"context_scale": (1.0, 1.0), "target_scale": (0.25, 0.25), "target_aspect": (1.0, 1.0)}
    masks = sampler(grid_of(8, 8), min_keep=48, num_targets=9, **fixed).sample(800, Rng(3, 0, 800))
    corners, counts = np.unique(masks.targets[:, 0, 0].numpy(), return_counts=True)
    assert corners.tolist() == [0, 4, 32, 36]
    assert ((counts - 200) ** 2 / 200).sum() < 16.3  # 3 degrees of freedom, 0.1%


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"keep": 8}, "keep 8 is below min_keep 10"),
        ({"num_targets": 0}, "num_targets: found 0, allowed: above 0"),
        ({"target_scale": [0.3, 0.2]}, "target_scale: found"),
        ({"context_scale": [0.5, 1.1]}, "context_scale: found"),
        ({"trim": "random"}, "trim: found 'random', allowed: 'subset', 'side'"),
        ({"targets": 4}, "unknown key"),
    ],
)
def test_wrong_settings_are_refused_when_read(settings, message):
    with pytest.raises(ConfigError, match=message):
        structure(settings, Multiblock.Config)


def test_grids_of_more_than_three_axes_are_refused():
    with pytest.raises(ConfigError, match="1 to 3 axes"):
        Multiblock(Multiblock.Config(), grid=Grid((4, 4, 4, 4), ("z", "t", "y", "x")))


# --- statistics ---------------------------------------------------------------------------------


def coverage_of_block(n: int, side: int) -> np.ndarray:
    """The chance [n] of each place to be in a block whose corner is uniform over all that fit."""
    corners = np.arange(n - side + 1)
    place = np.arange(n)[:, None]
    return ((place >= corners) & (place < corners + side)).mean(axis=1)


def on_grid(grid: Grid, sides: tuple[int, ...]) -> np.ndarray:
    """The same for every place of the grid [N]: axes are independent."""
    chance = np.ones(1)
    for n, side in zip(grid.shape, sides, strict=True):
        chance = np.outer(chance, coverage_of_block(n, side)).ravel()
    return chance


def assert_within_sampling_error(counts: np.ndarray, chance: np.ndarray, draws: int) -> None:
    error = np.sqrt(np.maximum(chance * (1 - chance), 1 / draws) / draws)
    assert (np.abs(counts / draws - chance) < 4.5 * error).all()


@pytest.mark.parametrize(
    ("shape", "target", "context", "scales"),
    [
        ((60,), (9,), (54,), (0.15, 0.9)),
        ((14, 14), (6, 6), (13, 13), (0.18, 0.9)),
        ((6, 7, 5), (3, 4, 3), (5, 6, 4), (0.175, 0.7)),
    ],
    ids=str,
)
def test_every_place_is_covered_as_often_as_uniform_corners_say(shape, target, context, scales):
    """Targets, and the untrimmed context (batches of one), at fixed sizes."""
    grid = grid_of(*shape)
    fixed = {"target_scale": (scales[0],) * 2, "context_scale": (scales[1],) * 2, "min_keep": 1}
    sample = sampler(grid, target_aspect=(1.0, 1.0), **fixed).sample
    draws = 2000
    in_target, in_context = np.zeros(grid.size), np.zeros(grid.size)
    for step in range(draws):
        masks = sample(1, Rng(5, step, 1))
        in_target[masks.targets[0, 0]] += 1
        in_context[masks.context[0]] += 1
    chance = on_grid(grid, target)
    assert masks.targets.shape[2] == math.prod(target)
    assert_within_sampling_error(in_target, chance, draws)
    assert_within_sampling_error(in_context, on_grid(grid, context) * (1 - chance) ** 4, draws)


@pytest.mark.parametrize("trim", ["subset", "side"])
def test_trimming_favours_no_side(trim):
    """Every row and column is context as often as its mirror image; none is never seen."""
    grid, batch, steps = grid_of(14, 14), 128, 100
    sample = sampler(grid, trim=trim).sample
    context, targets = np.zeros(grid.size), np.zeros(grid.size)
    for step in range(steps):
        masks = sample(batch, Rng(2, step, batch))
        np.add.at(context, masks.context.numpy().ravel(), 1)
        np.add.at(targets, masks.targets.numpy().ravel(), 1)
    for counts in (context, targets):
        share = counts.reshape(grid.shape) / (batch * steps)
        assert share.min() > 0.03
        for axis in (0, 1):
            line = share.mean(axis=axis)
            assert line == pytest.approx(line[::-1], rel=0.05)
        assert share.mean(axis=0) == pytest.approx(share.mean(axis=1), rel=0.1)


def test_a_random_subset_leaves_the_coverage_as_it_was():
    """`keep` of half the context halves the coverage of every place, edges like the middle."""
    fixed = {"target_scale": (0.18, 0.18), "context_scale": (0.9, 0.9), "min_keep": 1}
    grid, batch, steps = grid_of(12, 12), 200, 60
    sample = sampler(grid, num_targets=1, keep=48, target_aspect=(1.0, 1.0), **fixed).sample
    counts = np.zeros(grid.size)
    for step in range(steps):
        np.add.at(counts, sample(batch, Rng(8, step, batch)).context.numpy().ravel(), 1)
    # One target of 5 x 5 leaves 96 to 104 of the 11 x 11 context, so what stays is near 48 / 98.
    untrimmed = on_grid(grid, (11, 11)) * (1 - on_grid(grid, (5, 5)))
    ratio = counts / (batch * steps) / untrimmed
    assert ratio == pytest.approx(np.full(grid.size, ratio.mean()), rel=0.09)


def test_sizes_are_equal_in_a_step_and_differ_between_steps():
    sample = sampler(grid_of(16, 16)).sample
    shapes = set()
    for step in range(200):
        places = np.stack(np.unravel_index(sample(2, Rng(0, step, 2)).targets.numpy(), (16, 16)))
        height, width = (places.max(axis=-1) - places.min(axis=-1) + 1)[:, 0, 0]
        shapes.add((int(height), int(width)))
    assert len(shapes) > 8
    heights, widths = np.array(sorted(shapes)).T
    assert (heights * widths / 256).min() > 0.12
    assert (heights * widths / 256).max() < 0.24


def test_scale_and_aspect_are_uncorrelated():
    sample = sampler(grid_of(40, 40)).sample
    sides = []
    for step in range(800):
        places = np.stack(np.unravel_index(sample(1, Rng(4, step, 1)).targets.numpy(), (40, 40)))
        sides.append((places.max(axis=-1) - places.min(axis=-1) + 1)[:, 0, 0])
    height, width = np.array(sides).T
    assert abs(np.corrcoef(height * width, height / width)[0, 1]) < 0.12
    assert (height * width).mean() / 1600 == pytest.approx(0.175, abs=0.003)
    assert (height / width).mean() == pytest.approx(1.125, abs=0.03)


# --- purity -------------------------------------------------------------------------------------


def windows(grid: Grid, per_window: int, total: int, **config) -> Masks:
    """The masks of a global batch as processes of `per_window` samples each draw them."""
    sample = sampler(grid, **config).sample
    drawn = [
        sample(per_window, Rng(6, 2, per_window, start=start, global_batch=total))
        for start in range(0, total, per_window)
    ]
    return Masks(*map(torch.cat, zip(*drawn, strict=True)))


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"trim": "side"},
        {"keep": 40},
        {"keep": 85, "trim": "side"},  # about every second sample needs new places
        {"min_keep": 85},
        {"min_keep": 118, "num_targets": 2, "target_scale": (0.19, 0.2)},
    ],
    ids=str,
)
def test_masks_do_not_depend_on_the_number_of_processes(config):
    grid = grid_of(14, 14)
    whole = windows(grid, 24, 24, **config)
    for per_window in (12, 4, 1):
        split = windows(grid, per_window, 24, **config)
        assert torch.equal(split.context, whole.context)
        assert torch.equal(split.targets, whole.targets)


def test_groups_are_trimmed_together():
    grid = grid_of(14, 14)
    grouped = sampler(grid, trim_group=8)
    assert grouped.trim_group == 8
    lengths = []
    for start in (0, 8, 16):
        at_once = grouped.sample(8, Rng(6, 2, 8, start=start, global_batch=24))
        halves = [
            grouped.sample(4, Rng(6, 2, 4, start=start + half, global_batch=24)) for half in (0, 4)
        ]
        assert torch.equal(at_once.context, torch.cat([half.context for half in halves]))
        lengths.append(at_once.context.shape[1])
    everyone = sampler(grid).sample(24, Rng(6, 2, 24))
    assert min(lengths) == everyone.context.shape[1]
    assert len(set(lengths)) > 1
    with pytest.raises(ValueError, match="cross a border"):
        grouped.sample(12, Rng(6, 2, 12, start=0, global_batch=24))


def test_same_place_same_masks_and_other_steps_seeds_and_views_differ():
    sample = sampler(grid_of(14, 14), keep=40).sample
    first = sample(8, Rng(1, 0, 8))
    assert torch.equal(first.context, sample(8, Rng(1, 0, 8)).context)
    for other in (Rng(1, 1, 8), Rng(2, 0, 8), Rng(1, 0, 8, view=1), Rng(1, 0, 8, start=8)):
        assert not torch.equal(first.context, sample(8, other).context)


def test_another_number_of_targets_keeps_the_first_ones():
    """Paired comparisons: the same seed gives the same sizes, contexts and first targets."""
    two, four = (sampler(grid_of(14, 14), num_targets=n).sample(16, Rng(9, 5, 16)) for n in (2, 4))
    assert torch.equal(two.targets, four.targets[:, :2])
