"""Spans on one axis: their number and length, what they leave, and how often each place is hit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sampler_cases import make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

SIGNAL = Grid((200,), ("t",))
PLANE = Grid((8, 30), ("f", "t"))


def chance(n: int, length: int, spans: int) -> np.ndarray:
    """Of each place [n] to lie in one of so many spans, or more."""
    start, place = np.arange(n - length + 1), np.arange(n)[:, None]
    one = ((place >= start) & (place < start + length)).mean(axis=1)
    return 1 - (1 - one) ** spans


def runs(places: torch.Tensor) -> list[int]:
    """Lengths of runs of neighbours in ascending places."""
    edges = np.flatnonzero(np.diff(places.numpy()) != 1)
    return np.diff([-1, *edges, len(places) - 1]).tolist()


def test_alone_each_target_is_a_union_of_spans():
    """WavJEPA's settings: 5 spans of 10 a target, 13 for the context, on 200 places."""
    sampler = make("spans", SIGNAL, num_targets=1)
    hits, seen = np.zeros(200), np.zeros(200)
    for step in range(1500):
        context, targets = sampler.sample(1, Rng(0, step, 1))
        assert min(runs(targets[0, 0])) >= 10
        assert 10 <= targets.shape[2] <= 50
        hits[targets[0, 0]] += 1
        seen[context[0]] += 1
    for found, expected in (
        (hits, chance(200, 10, 5)),
        (seen, chance(200, 10, 13) * (1 - chance(200, 10, 5))),
    ):
        error = np.sqrt(expected * (1 - expected) / 1500)
        assert (np.abs(found / 1500 - expected) < 4.5 * error).all()


@pytest.mark.parametrize("axis", ["f", "t"])
def test_spans_go_through_all_other_axes(axis):
    sampler = make("spans", PLANE, axis=axis, length=3, min_keep=1)
    across = 1 - PLANE.axes.index(axis)
    for step in range(20):
        masks = sampler.sample(8, Rng(0, step, 8))
        assert masks.targets.shape[:2] == (8, 4)
        for rows in (masks.context, masks.targets.flatten(0, 1)):
            places = torch.zeros(len(rows), PLANE.size, dtype=torch.bool).scatter_(1, rows, True)
            folded = places.reshape(-1, *PLANE.shape).numpy()
            assert (folded.all(axis=1 + across) == folded.any(axis=1 + across)).all()


def test_targets_of_a_sample_differ_and_the_context_leaves_out_all():
    context, targets = make("spans", SIGNAL).sample(64, Rng(0, 0, 64))
    for row, blocks in zip(context, targets, strict=True):
        assert len({tuple(block.tolist()) for block in blocks}) == 4
        assert not set(row.tolist()) & set(blocks.flatten().tolist())


def test_where_new_places_do_not_help_context_and_targets_go_apart():
    config = {"length": 20, "context_share": 1.0, "target_share": 0.9}
    context, targets = make("spans", SIGNAL, min_keep=180, **config).sample(900, Rng(0, 0, 900))
    assert context.shape[1] == 180
    ends, counts = np.unique(targets[:, :, 0].numpy(), return_counts=True)
    assert ends.tolist() == [0, 180]
    assert abs(counts[0] / 4 - 450) < 4.5 * 15
    with pytest.raises(ConfigError, match=r"10 spans of 20 .* at most 180 context.*asks for 181"):
        make("spans", SIGNAL, min_keep=181, **config)


def test_more_targets_keep_the_first_ones():
    """Paired comparisons: the same seed and step; where nothing is trimmed, the same tokens."""
    two, three = (
        make("spans", SIGNAL, num_targets=n, target_share=0.05).sample(8, Rng(0, 5, 8))
        for n in (2, 3)
    )
    assert torch.equal(two.targets, three.targets[:, :2])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"axis": "y"}, r"axis: on the grid 8 x 30 \(f, t\) found 'y', allowed: f, t"),
        ({}, r"length: found 10, allowed: at most 8, the places on the axis f of the grid 8 x 30"),
        ({"target_share": 0.0}, "target_share: found 0.0, allowed: above 0, at most 1"),
        ({"context_share": 1.5}, "context_share: found 1.5"),
        ({"length": 3, "min_keep": 181}, r"at most 150 context tokens, wherever on the axis f"),
    ],
)
def test_what_the_grid_cannot_satisfy_is_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        make("spans", PLANE, **config)


@given(
    places=st.integers(1, 60),
    across=st.integers(1, 3),
    length=st.integers(1, 12),
    num_targets=st.integers(1, 5),
    target_share=st.floats(0.05, 1.0),
    context_share=st.floats(0.05, 1.0),
    min_keep=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_keeps_min_keep_or_is_refused(places, across, length, min_keep, **config):
    grid = Grid((across, places), ("f", "t"))
    refusal = None
    try:
        sampler = make("spans", grid, axis="t", length=length, min_keep=min_keep, **config)
    except ConfigError as error:
        refusal = str(error)
    if refusal is not None:
        assert f"asks for {min_keep}" in refusal or f"found {length}, allowed" in refusal
        return
    for step in range(3):
        context, targets = sampler.sample(4, Rng(0, step, 4))
        assert context.shape[1] >= min_keep
        assert targets.shape[2] >= across * min(length, places)
