from __future__ import annotations

import torch
from torch.utils import _pytree as pytree

from jepa.core.tokens import Loss, Masks, Query, Tokens, gather


def test_gather_takes_rows_of_each_sample():
    data = torch.arange(2 * 5 * 3).reshape(2, 5, 3)
    index = torch.tensor([[4, 0], [1, 1]])
    taken = gather(data, index)
    assert taken.shape == (2, 2, 3)
    for row, places in enumerate(index.tolist()):
        for at, place in enumerate(places):
            assert torch.equal(taken[row, at], data[row, place])


def test_gather_of_other_ranks():
    flat = torch.arange(10).reshape(2, 5)
    assert gather(flat, torch.tensor([[1], [2]])).tolist() == [[1], [7]]
    deep = torch.randn(2, 5, 3, 4)
    assert gather(deep, torch.zeros(2, 7, dtype=torch.int64)).shape == (2, 7, 3, 4)
    assert gather(deep, torch.zeros(2, 0, dtype=torch.int64)).shape == (2, 0, 3, 4)


def test_gradients_reach_the_tokens_that_were_taken_and_no_other():
    data = torch.zeros(1, 4, 2, requires_grad=True)
    gather(data, torch.tensor([[2, 2, 0]])).sum().backward()
    assert data.grad.tolist() == [[[1, 1], [0, 0], [2, 2], [0, 0]]]


def test_taking_keeps_data_and_coordinates_together():
    tokens = Tokens(torch.arange(8.0).reshape(1, 4, 2), torch.arange(4).reshape(1, 4, 1))
    taken = tokens.take(torch.tensor([[3, 1]]))
    assert taken.coords.tolist() == [[[3], [1]]]
    assert taken.data.tolist() == [[[6, 7], [2, 3]]]


def test_tensors_inside_are_seen_by_torch():
    tensor = torch.zeros(1)
    for value, count in (
        (Tokens(tensor, tensor), 2),
        (Masks(tensor, tensor), 2),
        (Query(tensor, 0, tensor), 3),
        (Loss(tensor, {"x": tensor}), 2),
    ):
        leaves = pytree.tree_leaves(value)
        assert len(leaves) == count
        doubled = pytree.tree_map(lambda leaf: leaf, value)
        assert type(doubled) is type(value)
