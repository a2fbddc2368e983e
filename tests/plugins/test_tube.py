"""Tubes: whole through their axes, also when trimmed; the union, and what it leaves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_cases import hidden, make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

VIDEO = Grid((4, 14, 14), ("t", "y", "x"))
PLANE = Grid((14, 14), ("y", "x"))


def chance_of_line(n: int, side: int) -> np.ndarray:
    """The chance [n] of each place to lie in a block whose corner is uniform."""
    place, corner = np.arange(n)[:, None], np.arange(n - side + 1)
    return ((place >= corner) & (place < corner + side)).mean(axis=1)


@pytest.mark.parametrize("through", [["t"], ["x"], ["t", "x"], ["y", "x"]], ids=str)
def test_tubes_are_whole_through_their_axes(through):
    """A place is context, target or neither along the whole of the axes."""
    sampler = make("tube", VIDEO, through=through, num_targets=3)
    axes = [1 + VIDEO.axes.index(name) for name in through]
    for step in range(20):
        masks = sampler.sample(16, Rng(0, step, 16))
        context = torch.zeros(16, VIDEO.size, dtype=torch.bool)
        context.scatter_(1, masks.context, True)
        for places in (context, hidden(masks, VIDEO)):
            folded = places.reshape(16, *VIDEO.shape).numpy()
            assert (folded.all(axis=tuple(axes)) == folded.any(axis=tuple(axes))).all()


@pytest.mark.parametrize("num_targets", [1, 2, 8])
def test_alone_nothing_is_trimmed_and_the_target_is_a_union_of_blocks(num_targets):
    config = {"target_scale": [0.15, 0.15], "target_aspect": [1.0, 1.0], "min_keep": 1}
    sampler = make("tube", PLANE, num_targets=num_targets, **config)
    sizes = []
    for step in range(300):
        masks = sampler.sample(1, Rng(0, step, 1))
        assert masks.context.shape[1] + masks.targets.shape[2] == PLANE.size
        # Every token of a union of 5 x 5 blocks lies in a 5 x 5 block of it.
        union = hidden(masks, PLANE).reshape(1, 1, 14, 14).float()
        corners = -torch.nn.functional.max_pool2d(-union, 5, stride=1)
        opened = torch.nn.functional.max_pool2d(torch.nn.functional.pad(corners, (4,) * 4), 5, 1)
        assert torch.equal(opened, union)
        sizes.append(masks.targets.shape[2])
    assert max(sizes) <= num_targets * 25
    assert min(sizes) >= 25
    if num_targets == 1:
        assert set(sizes) == {25}


def test_as_much_is_hidden_as_independent_blocks_hide():
    """Blocks of 5 x 5 on 14 x 14 at uniform corners; the mean over the grid, 8 blocks."""
    config = {"target_scale": [0.128, 0.128], "target_aspect": [1.0, 1.0], "min_keep": 1}
    sampler = make("tube", PLANE, **config)
    shares = [sampler.sample(1, Rng(4, k, 1)).targets.shape[2] / PLANE.size for k in range(600)]
    line = chance_of_line(14, 5)
    expected = 1 - (1 - np.outer(line, line)) ** 8
    error = np.std(shares) / np.sqrt(len(shares))
    assert np.mean(shares) == pytest.approx(expected.mean(), abs=4.5 * error)


def test_trimming_leaves_the_coverage_as_it_was():
    """Two blocks of 5 x 5: late frames stay like early ones, edges like the middle."""
    config = {"target_scale": [0.128, 0.128], "target_aspect": [1.0, 1.0]}
    sampler = make("tube", VIDEO, through=["t"], num_targets=2, **config)
    batch, steps, trimmed = 64, 60, 0
    kept = np.zeros(VIDEO.size)
    for step in range(steps):
        masks = sampler.sample(batch, Rng(2, step, batch))
        kept += np.bincount(masks.context.flatten().numpy(), minlength=VIDEO.size)
        trimmed += masks.context.shape[1] + masks.targets.shape[2] < VIDEO.size
    assert trimmed == steps
    frames = kept.reshape(4, 14, 14)
    assert (frames == frames[0]).all()
    line = chance_of_line(14, 5)
    ratio = frames[0] / (batch * steps) / (1 - np.outer(line, line)) ** 2
    assert ratio == pytest.approx(np.full((14, 14), ratio.mean()), rel=0.07)


def test_where_new_places_do_not_help_all_blocks_lie_on_one():
    """A block of 7 x 7 leaves 147, and 8 blocks anywhere never do: the last resort, unbiased."""
    config = {"target_scale": [0.25, 0.25], "target_aspect": [1.0, 1.0]}
    sampler = make("tube", PLANE, min_keep=147, **config)
    masks = sampler.sample(6400, Rng(0, 0, 6400))
    assert masks.context.shape[1] == 147
    assert masks.targets.shape[2] == 49
    corners, counts = np.unique(masks.targets[:, 0, 0].numpy(), return_counts=True)
    assert len(corners) == 64
    assert ((counts - 100) ** 2 / 100).sum() < 103.4  # 63 degrees of freedom, 0.1%
    with pytest.raises(ConfigError, match=r"7 x 7 .* at most 147 context tokens.*asks for 148"):
        make("tube", PLANE, min_keep=148, **config)


def test_more_blocks_hide_what_fewer_hide():
    """Paired comparisons: the same seed and step, another number of blocks."""
    few, many = (
        hidden(make("tube", PLANE, num_targets=n, min_keep=1).sample(1, Rng(0, 3, 1)), PLANE)
        for n in (2, 5)
    )
    assert (few <= many).all()
    assert few.sum() < many.sum()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"through": ["z"]}, r"through: on the grid .* found 'z', allowed: t, x, y"),
        ({"through": ["t", "t"]}, "allowed: axes, each once"),
        ({"through": ["y", "t", "x"]}, r"found all axes of the grid 4 x 14 x 14"),
        ({"through": "t"}, "through: found 't', allowed: a list"),
        (
            {"through": ["t"], "min_keep": 700, "target_aspect": [1.0, 1.0]},
            r"blocks of 5 x 5 through t .* at most 684 context tokens.*asks for 700",
        ),
    ],
)
def test_what_the_grid_cannot_satisfy_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        make("tube", VIDEO, **config)


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    through=st.integers(0, 7),
    num_targets=st.integers(1, 9),
    scale=st.tuples(st.floats(0.02, 1.0), st.floats(0.02, 1.0)).map(sorted),
    min_keep=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_keeps_min_keep_or_is_refused(shape, through, num_targets, scale, min_keep):
    axes = ("t", "y", "x")[: len(shape)]
    grid = Grid(tuple(shape), axes)
    names = [name for place, name in enumerate(axes) if through >> place & 1]
    config = {"through": names, "num_targets": num_targets, "min_keep": min_keep}
    refusal = None
    try:
        sampler = make("tube", grid, target_scale=scale, **config)
    except ConfigError as error:
        refusal = str(error)
    if refusal is not None:
        assert f"asks for {min_keep}" in refusal or "found all axes" in refusal
        return
    for step in range(3):
        context, targets = sampler.sample(4, Rng(0, step, 4))
        assert context.shape[1] >= min_keep
        assert targets.shape[2] > 0
