"""Predictors that need no training, against loops."""

import torch

from jepa.core.health.trivial import batch_mean, nearest_copy, position_mean

B, M, T, D, N = 5, 2, 3, 4, 6


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def places() -> torch.Tensor:
    """Ascending and unique in a row, another for each sample and block."""
    order = drawn(B, M, N, seed=1).argsort(dim=-1)[..., :T]
    return order.sort(dim=-1).values


def test_batch_mean_is_one_token_for_all():
    targets = drawn(B, M, T, D)
    said = batch_mean(targets)
    assert said.shape == targets.shape
    assert torch.allclose(said[3, 1, 2], targets.reshape(-1, D).mean(0), atol=1e-6)
    assert torch.equal(said[0, 0, 0], said[4, 1, 2])


def test_position_mean_is_that_of_the_other_samples():
    targets, where = drawn(B, M, T, D), places()
    said = position_mean(targets, where, N)
    for b in range(B):
        for m in range(M):
            for t in range(T):
                others = [
                    targets[c, k, u]
                    for c in range(B)
                    for k in range(M)
                    for u in range(T)
                    if c != b and where[c, k, u] == where[b, m, t]
                ]
                expected = torch.stack(others).mean(0) if others else batch_mean(targets)[0, 0, 0]
                assert torch.allclose(said[b, m, t], expected, atol=1e-5)


def test_position_mean_of_a_place_that_no_other_has_is_the_mean():
    targets = drawn(2, 1, 1, D)
    said = position_mean(targets, torch.tensor([[[0]], [[5]]]), N)
    assert torch.allclose(said, batch_mean(targets))


def test_nearest_copy_takes_the_nearest_of_the_context():
    seen = drawn(1, 3, D)
    seen_coords = torch.tensor([[[0, 0], [0, 3], [2, 2]]])
    coords = torch.tensor([[[[0, 1], [1, 3]], [[3, 2], [1, 1]]]])
    said = nearest_copy(seen, seen_coords, coords)
    # (1, 1) is as near to (0, 0) as to (2, 2): the first counts.
    expected = seen[0, torch.tensor([[0, 1], [2, 0]])]
    assert torch.equal(said[0], expected)
