"""Mixtures are what their names say, of inputs and of labels alike."""

import pytest
import torch
import torch.nn.functional as F

from jepa.core.errors import ConfigError
from jepa.evaluation.mixing import drawing, mixing

CPU = torch.device("cpu")
CLASSES = 4


def batch(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(12, *shape, generator=rng), torch.arange(12) % CLASSES


def shares(weight: float, labels: torch.Tensor) -> torch.Tensor:
    own = F.one_hot(labels, CLASSES).float()
    return weight * own + (1 - weight) * own.roll(1, 0)


@pytest.mark.parametrize("shape", [(3, 8, 6), (2, 9), (1, 2, 3, 4)])
def test_mixup_is_a_weighted_mean_of_neighbours(shape):
    inputs, labels = batch(*shape)
    with drawing(0, 0, CPU):
        mixed, found = mixing(0.8, 0.0, CLASSES)(inputs, labels)
    weight = found[0, labels[0]].item()
    assert 0 < weight < 1
    torch.testing.assert_close(found, shares(weight, labels))
    torch.testing.assert_close(mixed, weight * inputs + (1 - weight) * inputs.roll(1, 0))


def test_mixup_weights_are_beta():
    inputs, labels = batch(1, 1)
    mix = mixing(0.8, 0.0, CLASSES)
    weights = []
    for step in range(800):
        with drawing(0, step, CPU):
            weights.append(mix(inputs, labels)[1][0, labels[0]])
    weights = torch.stack(weights)
    assert weights.mean().item() == pytest.approx(0.5, abs=0.04)
    assert weights.var().item() == pytest.approx(1 / (4 * (2 * 0.8 + 1)), rel=0.15)


def test_cutmix_pastes_a_rectangle_of_the_neighbour():
    inputs, labels = batch(3, 8, 6)
    areas = []
    for step in range(50):
        with drawing(0, step, CPU):
            mixed, found = mixing(0.0, 1.0, CLASSES)(inputs, labels)
        pasted = (mixed != inputs).all(1)  # [B, 8, 6]
        assert (pasted == pasted[0]).all()
        rows, columns = pasted[0].any(1), pasted[0].any(0)
        assert torch.equal(pasted[0], rows[:, None] & columns)
        expected = torch.where(pasted[:, None], inputs.roll(1, 0), inputs)
        assert torch.equal(mixed, expected)
        areas.append(pasted[0].float().mean().item())
        torch.testing.assert_close(found, shares(1 - areas[-1], labels))
    assert len(set(areas)) > 10


def test_with_both_each_batch_gets_one():
    inputs, labels = batch(3, 8, 6)
    mix = mixing(0.8, 1.0, CLASSES)
    cut = 0
    for step in range(400):
        with drawing(1, step, CPU):
            mixed, _ = mix(inputs, labels)
        # A rectangle leaves values of one sample or the other.
        cut += bool(((mixed == inputs) | (mixed == inputs.roll(1, 0))).all())
    assert 150 < cut < 250


def test_nothing_to_mix():
    assert mixing(0.0, 0.0, CLASSES) is None


def test_cutmix_wants_two_axes():
    for shape in [(2, 9), (1, 2, 3, 4)]:
        with drawing(0, 0, CPU), pytest.raises(ConfigError, match=r"cutmix: .*two axes after"):
            mixing(0.0, 1.0, CLASSES)(*batch(*shape))
