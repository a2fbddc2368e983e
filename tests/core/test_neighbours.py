"""Nearest neighbours against plain products."""

import torch
import torch.nn.functional as F

from jepa.core import neighbours
from jepa.core.neighbours import nearest, votes


def rows(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(seed))


def test_equals_a_plain_sort_whatever_the_chunks(monkeypatch):
    known, asked = rows(50, 1), rows(23, 2)
    plain = F.normalize(asked, dim=1) @ F.normalize(known, dim=1).T
    values, index = plain.sort(dim=1, descending=True)
    for cells in (2**24, 3 * 50, 1):
        monkeypatch.setattr(neighbours, "_CELLS", cells)
        found = [torch.cat(parts) for parts in zip(*nearest(known, asked, 7), strict=True)]
        torch.testing.assert_close(found[0], values[:, :7])
        assert torch.equal(found[1], index[:, :7])


def test_fewer_rows_than_k():
    ((similarity, index),) = nearest(rows(3, 1), rows(2, 2), 20)
    assert similarity.shape == index.shape == (2, 3)


def test_near_neighbours_outvote_far_ones_by_temperature():
    known = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.8, -0.6]])
    labels = torch.tensor([0, 1, 1])
    asked = torch.tensor([[1.0, 0.0]])
    near, far = (votes(known, labels, asked, 3, temperature) for temperature in (0.07, 10.0))
    torch.testing.assert_close(far, torch.tensor([[0.3378, 0.6622]]), atol=1e-4, rtol=0)
    assert near[0, 0] > 0.8
    torch.testing.assert_close(near.sum() + far.sum(), torch.tensor(2.0))
