"""The geometry of blocks: their sides, their places, and the most context that places can leave."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepa.plugins.masks.blocks import (
    SizeTable,
    block_offsets,
    most_visible,
    strides,
    visible_places,
)

SHAPES = st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple)
SCALES = st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda s: tuple(sorted(s)))
ASPECTS = st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(lambda s: tuple(sorted(s)))


def test_a_square_grid_gives_the_sides_of_the_paper():
    """h = sqrt(s N a), w = sqrt(s N / a): the paper's, rounded."""
    for n, scale, aspect in itertools.product((14, 16, 28), (0.15, 0.175, 0.2), (0.75, 1.0, 1.5)):
        (sides,) = SizeTable((n, n), (scale, scale), (aspect, aspect)).distinct.tolist()
        exact = [n * math.sqrt(scale * aspect), n * math.sqrt(scale / aspect)]
        assert sides == [math.floor(side + 0.5) for side in exact]


def test_halves_round_up_whatever_the_last_bits_are():
    assert SizeTable((5, 5), (0.25, 0.25), (1.0, 1.0)).distinct.tolist() == [[3, 3]]
    assert SizeTable((7,), (0.5, 0.5), (1.0, 1.0)).distinct.tolist() == [[4]]


def test_what_clipping_takes_from_one_axis_goes_to_the_others():
    # 0.81 at aspect 4 wants 1.8 x 0.45 of the sides; the height stops at the whole grid.
    assert SizeTable((100, 100), (0.81, 0.81), (4.0, 4.0)).distinct.tolist() == [[100, 81]]
    # One row of tokens is the whole height, so the width alone makes the scale.
    assert SizeTable((1, 200), (0.16, 0.16), (1.0, 1.0)).distinct.tolist() == [[1, 32]]
    # Both other axes stretch by the same factor: sqrt(0.5 / 0.5) of what is left each.
    assert SizeTable((1, 100, 100), (0.25, 0.25), (1.0, 1.0)).distinct.tolist() == [[1, 50, 50]]


def test_three_axes_have_two_aspects():
    """Of (t, y, x): y to x, and t to the mean of both."""
    (sides,) = SizeTable((100, 100, 100), (0.125, 0.125), (1.44, 1.44)).distinct.tolist()
    t, y, x = sides
    assert y / x == pytest.approx(1.44, rel=0.03)
    assert t / math.sqrt(y * x) == pytest.approx(1.44, rel=0.03)
    assert t * y * x == pytest.approx(0.125 * 1e6, rel=0.03)


@given(shape=SHAPES, scale=SCALES, aspect=ASPECTS)
@settings(max_examples=60, deadline=None)
def test_sides_fit_and_scale_is_kept(shape, scale, aspect):
    table = SizeTable(shape, scale, aspect)
    size = math.prod(shape)
    for sides in table.distinct:
        assert (sides >= 1).all()
        assert (sides <= np.array(shape)).all()
        # Rounding moves a side by half a token, so the true area lies between these two.
        least = math.prod(np.maximum(sides - 0.5001, 0.9999))
        most = math.prod(np.minimum(sides + 0.5001, np.array(shape) + 0.0001))
        assert least <= max(scale[1] * size, 1) * 1.001
        assert most >= scale[0] * size * 0.999


def test_scale_and_aspect_are_drawn_apart():
    table = SizeTable((1000, 1000), (0.15, 0.2), (0.75, 1.5))
    uniforms = np.random.default_rng(0).random((4000, 2))
    sides = np.stack([table.pick(u) for u in uniforms])
    scale, aspect = sides.prod(axis=1) / 1e6, sides[:, 0] / sides[:, 1]
    assert abs(np.corrcoef(scale, aspect)[0, 1]) < 0.05
    assert scale.mean() == pytest.approx(0.175, abs=0.001)
    assert aspect.mean() == pytest.approx(1.125, abs=0.015)
    assert np.corrcoef(scale, uniforms[:, 0])[0, 1] > 0.99
    assert np.corrcoef(aspect, uniforms[:, 1])[0, 1] > 0.99


def test_the_ends_of_the_uniforms_pick_the_ends_of_the_table():
    table = SizeTable((1000,), (0.1, 0.9), (1.0, 1.0))
    assert table.pick(np.array([0.0])) == 113
    assert table.pick(np.array([1 - 2**-53])) == 888


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_places_leave_more_context_than_the_bound_and_some_leave_as_much(shape, data):
    sides = st.tuples(*[st.integers(1, n) for n in shape]).map(np.array)
    context, target = data.draw(sides), data.draw(sides)
    best = 0
    for at, there in itertools.product(_corners(shape, context), _corners(shape, target)):
        visible = visible_places(math.prod(shape), at[None], there[None, None])
        best = max(best, int(visible.sum()))
    assert most_visible(shape, context, target) == best


def _corners(shape, sides):
    """Every place of a block, as indices [T]."""
    ranges = [range(n - side + 1) for n, side in zip(shape, sides, strict=True)]
    for corner in itertools.product(*ranges):
        yield np.array(corner) @ strides(shape) + block_offsets(shape, sides)


def test_offsets_are_the_block_in_c_order():
    grid = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    assert (
        block_offsets((4, 5, 6), np.array([2, 3, 2])).tolist() == grid[:2, :3, :2].ravel().tolist()
    )
