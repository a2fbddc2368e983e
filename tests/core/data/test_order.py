from __future__ import annotations

import numpy as np
import pytest

from jepa.core.data.order import Order
from jepa.core.errors import DataError


def steps(order: Order, first: int, last: int) -> np.ndarray:
    size = order.global_batch
    return np.stack([order.work(step, 0, size).indices for step in range(first, last)])


def test_each_pass_is_a_permutation_without_its_rest():
    order = Order(3, 23, 5)
    assert order.steps_per_epoch == 4
    passes = [steps(order, 4 * epoch, 4 * epoch + 4).ravel() for epoch in range(6)]
    for indices in passes:
        assert len(set(indices.tolist())) == 20
        assert 0 <= indices.min() <= indices.max() < 23
    assert len({tuple(indices) for indices in passes}) == 6
    left_out = [set(range(23)) - set(indices.tolist()) for indices in passes]
    assert len(set(map(frozenset, left_out))) > 1, "not always the same samples are dropped"


def test_any_step_can_be_asked_first():
    straight = steps(Order(1, 40, 8), 0, 30)
    for step in (29, 0, 17):
        np.testing.assert_array_equal(steps(Order(1, 40, 8), step, step + 1)[0], straight[step])
    assert (steps(Order(2, 40, 8), 0, 30) != straight).any()
    assert [Order(1, 40, 8).work(step, 0, 8).epoch for step in (0, 4, 5, 29)] == [0, 0, 1, 5]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6])
def test_processes_share_the_same_batch(processes):
    whole = steps(Order(0, 100, 12), 0, 20)
    share = 12 // processes
    order = Order(0, 100, 12)
    parts = [
        np.concatenate([order.work(step, rank * share, share).indices for rank in range(processes)])
        for step in range(20)
    ]
    np.testing.assert_array_equal(np.stack(parts), whole)


def test_too_few_samples_for_one_step():
    with pytest.raises(DataError, match=r"lower train\.global_batch from 64 to 63 or less"):
        Order(0, 63, 64)
