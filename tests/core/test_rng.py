from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from jepa.core.rng import Rng, SampleRng, Stream, device_seed, permutation

BATCH = 24


def whole(seed=0, step=0, view=0) -> Rng:
    return Rng(seed=seed, step=step, batch_size=BATCH, global_batch=BATCH, view=view)


@given(
    cuts=st.lists(st.integers(1, BATCH - 1), unique=True, max_size=5).map(sorted),
    n=st.integers(1, 9),
    step=st.integers(0, 2**40),
)
def test_rows_depend_on_the_place_alone(cuts, n, step):
    together = whole(step=step)
    expected = [together.rows(n), together.rows(3), together.rows(n)]
    shares = [
        Rng(seed=0, step=step, batch_size=stop - start, start=start, global_batch=BATCH)
        for start, stop in itertools.pairwise([0, *cuts, BATCH])
    ]
    for k, columns in enumerate((n, 3, n)):
        drawn = [rng.rows(columns) for rng in shares]
        assert torch.equal(torch.cat(drawn), expected[k])


def test_shared_draws_are_equal_for_all_and_take_a_draw_like_rows():
    shares = [Rng(seed=3, step=5, batch_size=4, start=start) for start in (0, 4, 20)]
    first = [rng.shared(7) for rng in shares]
    assert all(torch.equal(first[0], other) for other in first)
    for rng in shares:
        rng.rows(2)
    second = [rng.shared(7) for rng in shares]
    assert all(torch.equal(second[0], other) for other in second)
    assert not torch.equal(first[0], second[0])


def test_the_same_calls_give_the_same_numbers():
    one, two = whole(seed=9, step=2), whole(seed=9, step=2)
    for _ in range(3):
        assert torch.equal(one.rows(5), two.rows(5))
        assert torch.equal(one.shared(5), two.shared(5))


def test_no_two_places_share_a_number():
    drawn = []
    for seed, step, view in itertools.product((0, 1, -1, 2**63), (0, 1, 10**6), (0, 1)):
        rng = whole(seed, step, view)
        drawn += [rng.rows(5), rng.shared(5), rng.rows(5), rng.shared(40)]
    flat = torch.cat([numbers.flatten() for numbers in drawn])
    assert len(flat) > 5000
    # 5 thousand draws of 53 bits: one collision by chance has a probability below 1e-8.
    assert len(flat.unique()) == len(flat)


def test_numbers_are_uniform_and_float64():
    rows = torch.cat([whole(step=step).rows(50).flatten() for step in range(40)])
    shared = torch.cat([whole(step=step).shared(500) for step in range(40)])
    for drawn in (rows, shared):
        assert drawn.dtype == torch.float64
        assert 0 <= drawn.min() < drawn.max() < 1
        assert stats.kstest(drawn.numpy(), "uniform").pvalue > 1e-3


def correlation(left: torch.Tensor, right: torch.Tensor) -> float:
    return float(np.corrcoef(left.flatten().numpy(), right.flatten().numpy())[0, 1])


def test_neighbours_are_uncorrelated():
    rng = Rng(seed=0, step=0, batch_size=4000)
    first, second = rng.rows(4), rng.rows(4)
    others = {
        "draw": second,
        "row": first.roll(1, 0),
        "column": first.roll(1, 1),
        "step": Rng(seed=0, step=1, batch_size=4000).rows(4),
        "seed": Rng(seed=1, step=0, batch_size=4000).rows(4),
        "view": Rng(seed=0, step=0, batch_size=4000, view=1).rows(4),
    }
    for name, other in others.items():
        # 16,000 pairs: the standard deviation of the estimate is 0.008.
        assert abs(correlation(first, other)) < 0.04, name


# --- window -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "size", "group", "places"),
    [(0, 4, 24, (0, 24)), (8, 4, 8, (8, 16)), (12, 4, 8, (8, 16)), (20, 4, 16, (16, 24))],
)
def test_a_window_sees_the_numbers_of_its_whole_group(start, size, group, places):
    rng = Rng(seed=1, step=2, batch_size=size, start=start, global_batch=BATCH, view=1)
    everyone = Rng(seed=1, step=2, batch_size=BATCH, global_batch=BATCH, view=1)
    rng.shared(3), everyone.shared(3)
    wide, mine = rng.window(group)
    first, last = places
    assert (wide.start, wide.batch_size) == (first, last - first)
    rows = wide.rows(6)
    assert torch.equal(rows, everyone.rows(6)[first:last])
    assert torch.equal(rows[mine], rng.rows(6))


def test_numbers_do_not_depend_on_the_progress_and_a_window_has_it():
    early, late = (Rng(seed=1, step=2, batch_size=4, start=4, progress=p) for p in (0.0, 0.7))
    assert torch.equal(early.rows(3), late.rows(3))
    assert late.window(8)[0].progress == 0.7


def test_a_window_across_a_border_is_refused():
    rng = Rng(seed=0, step=0, batch_size=6, start=4, global_batch=BATCH)
    with pytest.raises(ValueError, match="places 4 to 9 cross a border of the groups of 8"):
        rng.window(8)


# --- samples, order, device ---------------------------------------------------------------------


def test_sample_numbers_are_a_function_of_seed_epoch_and_index():
    again = SampleRng(seed=1, epoch=2, index=3)
    one = SampleRng(seed=1, epoch=2, index=3)
    assert np.array_equal(one.uniforms(4), again.uniforms(4))
    assert np.array_equal(one.uniforms(2), again.uniforms(2))
    split = SampleRng(seed=1, epoch=2, index=3)
    joined = np.concatenate([split.uniforms(1), split.uniforms(3), split.uniforms(2)])
    assert np.array_equal(joined, SampleRng(seed=1, epoch=2, index=3).uniforms(6))


def test_samples_share_no_number():
    drawn = np.concatenate(
        [
            SampleRng(seed, epoch, index, stream).uniforms(100)
            for seed, epoch, index in itertools.product((0, 1), (0, 1, 300), (0, 1, 2, 10**7))
            for stream in (Stream.TRANSFORM, Stream.REPLACE)
        ]
    )
    assert len(np.unique(drawn)) == len(drawn)
    assert stats.kstest(drawn, "uniform").pvalue > 1e-3


def test_integers_are_in_range_and_reach_every_value():
    drawn = list(itertools.islice(SampleRng(seed=0, epoch=0, index=0).integers(5), 500))
    assert set(drawn) == {0, 1, 2, 3, 4}
    assert all(type(number) is int for number in drawn)


def test_an_order_is_a_permutation_that_depends_on_seed_and_epoch():
    orders = [permutation(seed, epoch, 500) for seed in (0, 1) for epoch in (0, 1, 2)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(500))
        assert order.dtype == np.int64
    for one, two in itertools.combinations(orders, 2):
        assert np.mean(one == two) < 0.05
    assert np.array_equal(permutation(1, 2, 500), orders[5])


def test_every_place_of_an_order_is_equally_likely():
    counts = np.zeros((6, 6))
    for epoch in range(1200):
        counts[np.arange(6), permutation(0, epoch, 6)] += 1
    assert stats.chisquare(counts, axis=None).pvalue > 1e-3


def test_device_seeds_are_distinct_and_fit_torch():
    seeds = [
        device_seed(seed, step, micro, rank)
        for seed in (0, 1)
        for step in range(50)
        for micro in range(3)
        for rank in range(4)
    ]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))
    assert device_seed(1, 2, 0, 3) == device_seed(1, 2, 0, 3)


def test_the_streams_never_share_a_number():
    firsts = {int(stream): SampleRng(5, 6, 7, stream).uniforms(1)[0] for stream in Stream}
    assert len(set(firsts.values())) == len(Stream)


def test_drawing_leaves_the_global_generators_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    whole().rows(3), whole().shared(3), permutation(0, 0, 5), device_seed(0, 0, 0, 0)
    SampleRng(0, 0, 0).uniforms(3)
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])
