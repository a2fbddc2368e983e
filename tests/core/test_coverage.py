"""Statistics of masks, against samplers whose statistics are known beforehand."""

import attrs
import pytest
import torch

from jepa.core.coverage import Counts, measure
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.tokens import Masks

GRID = Grid((2, 3), ("y", "x"))


class Alternating(MaskSampler):
    """Even steps: context 0 1, targets 4 5 and 4. Odd steps: context 0, target 3 4 twice."""

    @attrs.frozen(kw_only=True)
    class Config:
        group: int | None = None

    def __init__(self, config: Config) -> None:
        self._group = config.group
        self.batches: list[tuple[int, int | None, int]] = []

    @property
    def trim_group(self) -> int | None:
        return self._group

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        self.batches.append((batch_size, rng.global_batch, rng.view))
        if rng.step % 2:
            context, targets = [0], [[3, 4], [3, 4]]
        else:
            context, targets = [0, 1], [[4, 5], [3, 4]]
        rows = torch.tensor(context).expand(batch_size, -1)
        return Masks(rows, torch.tensor(targets).expand(batch_size, -1, -1))


def test_counts_places_and_tokens():
    found = measure(
        Alternating(Alternating.Config()), GRID, seed=0, steps=4, global_batch=8, view=0
    )
    assert found.samples == 32
    assert found.context.tolist() == [1, 0.5, 0, 0, 0, 0]
    assert found.target.tolist() == [0, 0, 0, 1, 1, 0.5]
    assert found.context_tokens == Counts(1.5, 1, 2)
    assert found.target_tokens == Counts(2, 2, 2)
    assert found.targets == 2
    assert found.context_share == pytest.approx(0.25)
    assert found.target_share == pytest.approx(2.5 / 6)
    assert (found.never_context, found.never_target) == (4, 3)


@pytest.mark.parametrize(("group", "batch"), [(None, 8), (4, 4), (100, 8)])
def test_draws_one_trim_group_of_the_runs_batch(group, batch):
    sampler = Alternating(Alternating.Config(group=group))
    measure(sampler, GRID, seed=0, steps=2, global_batch=8, view=3)
    assert sampler.batches == [(batch, 8, 3)] * 2
