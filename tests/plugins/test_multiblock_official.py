"""The published sampler: what is known of it, and a loop over samples that says the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.plugins.masks.multiblock_official import MultiblockOfficial, block_sides, drawable_sides


def square(side: int) -> Grid:
    return Grid((side, side), ("y", "x"))


def sampler(grid: Grid, **config) -> MultiblockOfficial:
    return MultiblockOfficial(MultiblockOfficial.Config(**config), grid=grid)


def coverage(
    sample, grid: Grid, batch: int, steps: int
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Share of samples that have each place [H, W] as context, as target 0, and K of each step."""
    context, target, lengths = np.zeros(grid.size), np.zeros(grid.size), []
    for step in range(steps):
        masks = sample(batch, Rng(11, step, batch))
        np.add.at(context, masks.context.numpy().ravel(), 1)
        np.add.at(target, masks.targets[:, 0].numpy().ravel(), 1)
        lengths.append(masks.context.shape[1])
    share = [(c / (batch * steps)).reshape(grid.shape) for c in (context, target)]
    return share[0], share[1], lengths


# --- what recipe.md says of it ------------------------------------------------------------------


def test_six_target_shapes_on_16x16():
    drawable = drawable_sides((16, 16), (0.15, 0.2), (0.75, 1.5))
    assert len(drawable) == 6
    uniforms = np.arange(20_000) / 20_000
    assert drawable == {block_sides((16, 16), (0.15, 0.2), (0.75, 1.5), u) for u in uniforms}


def test_the_last_row_and_column_are_never_seen():
    context, target, _ = coverage(sampler(square(14)).sample, square(14), 64, 40)
    for share in (context, target):
        assert share[-1].max() == 0
        assert share[:, -1].max() == 0
    assert target[:-1, :-1].min() > 0


def test_only_the_bottom_is_thrown_away():
    share, _, lengths = coverage(sampler(square(14)).sample, square(14), 128, 150)
    rows = share.mean(axis=1)
    assert rows[0] == pytest.approx(0.75, abs=0.01)
    assert rows[12] == pytest.approx(0.02, abs=0.01)
    assert np.mean(lengths) == pytest.approx(49, abs=2)
    _, _, untrimmed = coverage(sampler(square(14)).sample, square(14), 1, 1000)
    assert np.mean(untrimmed) == pytest.approx(82, abs=1.5)


@pytest.mark.parametrize(("batch", "share"), [(8, 0.32), (128, 0.245)])
def test_the_kept_share_depends_on_the_trim_group(batch, share):
    sample = sampler(square(14), trim_group=batch).sample
    lengths = [sample(8, Rng(3, step, 8, global_batch=256)).context.shape[1] for step in range(400)]
    assert np.mean(lengths) / 196 == pytest.approx(share, abs=0.015)


def test_scale_and_aspect_are_one_curve():
    sides = [block_sides((40, 40), (0.15, 0.2), (0.75, 1.5), u) for u in np.linspace(0, 1, 400)]
    height, width = np.array(sides).T
    assert np.corrcoef(height * width, height / width)[0, 1] > 0.9


# --- a loop over samples, derived anew ----------------------------------------------------------


def loop(grid: Grid, config: MultiblockOfficial.Config, batch: int, random: np.random.Generator):
    """One step, block by block, as the facts tell it: contexts before the cut, and targets."""
    height, width = grid.shape

    def size(scale, aspect):
        uniform = random.random()
        area = int(height * width * (scale[0] + uniform * (scale[1] - scale[0])))
        ratio = aspect[0] + uniform * (aspect[1] - aspect[0])
        h, w = int(np.rint(np.sqrt(area * ratio))), int(np.rint(np.sqrt(area / ratio)))
        while h >= height:
            h -= 1
        while w >= width:
            w -= 1
        return h, w

    def block(h, w):
        mask = np.zeros(grid.shape, int)
        top, left = random.integers(0, height - h), random.integers(0, width - w)
        mask[top : top + h, left : left + w] = 1
        return mask

    target_size = size(config.target_scale, config.target_aspect)
    context_size = size(config.context_scale, (1.0, 1.0))
    contexts, targets = [], []
    for _ in range(batch):
        blocks = [block(*target_size) for _ in range(config.num_targets)]
        assert all(b.sum() > config.min_keep for b in blocks)
        obeyed, failures = len(blocks), 0
        while True:
            context = block(*context_size)
            for hidden in blocks[:obeyed]:
                context = context * (1 - hidden)
            if context.sum() > config.min_keep:
                break
            failures += 1
            if failures == 20:
                obeyed, failures = obeyed - 1, 0
        contexts.append(np.flatnonzero(context))
        targets.append([np.flatnonzero(b) for b in blocks])
    return contexts, np.array(targets)


@pytest.mark.parametrize(
    ("grid", "config"),
    [
        (square(14), {}),
        (Grid((9, 12), ("y", "x")), {"min_keep": 8, "num_targets": 3}),
        # Here a context of more than 40 tokens is rare: most samples drop a target or two.
        (square(14), {"min_keep": 40, "target_scale": (0.35, 0.45)}),
    ],
    ids=["paper", "oblong", "dropping"],
)
def test_agrees_with_a_loop_over_samples(grid, config):
    """Mean K, mean length of the cut, coverage, and how many context tokens are targets too."""
    batch, steps, random = 16, 120, np.random.default_rng(5)
    sample = sampler(grid, **config).sample
    ours, theirs = [], []
    for step in range(steps):
        masks = sample(batch, Rng(2, step, batch))
        ours.append(_summary(masks.context.numpy(), masks.targets.numpy(), grid))
        contexts, targets = loop(grid, MultiblockOfficial.Config(**config), batch, random)
        shortest = min(map(len, contexts))
        cut = np.stack([context[:shortest] for context in contexts])
        theirs.append(_summary(cut, targets, grid))
    ours, theirs = np.array(ours), np.array(theirs)
    # Steps are independent; samples of a step share their sizes.
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / steps) + 1e-9
    distance = (ours.mean(axis=0) - theirs.mean(axis=0)) / error
    assert np.abs(distance).max() < 4.5
    assert (distance**2).mean() < 2


def _summary(context: np.ndarray, targets: np.ndarray, grid: Grid) -> np.ndarray:
    """K, T, context tokens that are targets too; context and target share of columns and rows."""
    rows = []
    both = [np.isin(c, t).sum() for c, t in zip(context, targets, strict=True)]
    for index in (context.ravel(), targets.ravel()):
        share = np.bincount(index, minlength=grid.size).reshape(grid.shape)
        rows += [*share.mean(axis=0), *share.mean(axis=1)]
    return np.array([context.shape[1], targets.shape[2], np.mean(both), *rows])


def test_a_context_overlaps_targets_only_where_it_must():
    """Dropping happens in the third setting above, never in the paper's."""
    for config, overlaps in (({}, False), ({"min_keep": 40, "target_scale": (0.35, 0.45)}, True)):
        masks = sampler(square(14), **config).sample(256, Rng(0, 0, 256))
        shared = [bool(torch.isin(c, t).any()) for c, t in zip(*masks, strict=True)]
        assert any(shared) is overlaps


# --- promises -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "min_keep", "refused"),
    [(6, 10, True), (8, 10, True), (6, 4, True), (6, 3, False), (8, 4, False), (14, 10, False)],
)
def test_what_the_published_sampler_draws_without_end_is_refused(side, min_keep, refused):
    if refused:
        with pytest.raises(ConfigError, match=rf"without end.*min_keep {min_keep}"):
            sampler(square(side), min_keep=min_keep)
    else:
        sampler(square(side), min_keep=min_keep)


def test_grids_of_other_than_two_axes_are_refused():
    for grid in (Grid((200,), ("t",)), Grid((8, 14, 14), ("t", "y", "x"))):
        with pytest.raises(ConfigError, match="2 axes; multiblock takes 1 to 3"):
            sampler(grid)


ranges = st.tuples(st.floats(0.05, 1.0), st.floats(0.05, 1.0)).map(lambda r: tuple(sorted(r)))


@given(
    height=st.integers(3, 40),
    width=st.integers(3, 40),
    num_targets=st.integers(1, 5),
    target_scale=st.one_of(st.just((0.15, 0.2)), ranges),
    context_scale=st.one_of(st.just((0.85, 1.0)), ranges),
    min_keep=st.integers(1, 30),
    batch=st.integers(1, 6),
)
@settings(max_examples=120, deadline=None)
def test_ends_and_keeps_its_promises_or_is_refused(height, width, batch, **config):
    grid = Grid((height, width), ("y", "x"))
    refusal = None
    try:
        sample = sampler(grid, **config).sample
    except ConfigError as error:
        refusal = str(error)
    if refusal is not None:
        assert f"min_keep {config['min_keep']}" in refusal
        return
    for step in range(2):
        context, targets = sample(batch, Rng(0, step, batch))
        assert context.shape[0] == batch
        assert context.shape[1] > config["min_keep"]
        assert targets.shape[:2] == (batch, config["num_targets"])
        assert targets.shape[2] > config["min_keep"]
        for rows in (context, targets):
            assert rows.dtype == torch.int64
            assert (rows.diff(dim=-1) > 0).all()
            place = np.unravel_index(rows.numpy(), grid.shape)
            assert place[0].max() < height - 1
            assert place[1].max() < width - 1


@given(
    shape=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    scale=ranges,
    aspect=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)).map(lambda r: tuple(sorted(r))),
    uniform=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=150, deadline=None)
def test_every_draw_is_foreseen(shape, scale, aspect, uniform):
    drawn = block_sides(shape, scale, aspect, uniform)
    assert drawn in drawable_sides(shape, scale, aspect)


def test_masks_do_not_depend_on_the_number_of_processes():
    sample = sampler(square(14), min_keep=40, target_scale=(0.35, 0.45)).sample
    whole = sample(24, Rng(6, 2, 24))
    for size in (12, 4, 1):
        parts = [
            sample(size, Rng(6, 2, size, start=start, global_batch=24))
            for start in range(0, 24, size)
        ]
        assert torch.equal(torch.cat([part.context for part in parts]), whole.context)
        assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)


def test_trim_group_cuts_its_own_places():
    sample = sampler(square(14), trim_group=8)
    assert sample.trim_group == 8
    lengths = {
        sample.sample(8, Rng(6, 0, 8, start=start, global_batch=64)).context.shape[1]
        for start in range(0, 64, 8)
    }
    assert len(lengths) > 1
    assert min(lengths) == sampler(square(14)).sample(64, Rng(6, 0, 64)).context.shape[1]
