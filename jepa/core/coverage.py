"""What a mask sampler does over many steps: token counts, and how often it picks each place."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng


@attrs.frozen
class Counts:
    """Mean, least and most of a number of tokens over steps."""

    mean: float
    min: int
    max: int


@attrs.frozen(kw_only=True)
class Coverage:
    """Statistics of one view.

    Attributes:
        samples: that were drawn in all.
        context: [N] float64, the share of samples that have the place in their context.
        target: [N] float64, the share that have it in at least one target.
        context_tokens: K over steps.
        target_tokens: T over steps.
        targets: target blocks M of a sample; the most, where steps differ.
    """

    samples: int
    context: Tensor
    target: Tensor
    context_tokens: Counts
    target_tokens: Counts
    targets: int

    @property
    def context_share(self) -> float:
        """Mean share of the grid that is context."""
        return float(self.context.mean())

    @property
    def target_share(self) -> float:
        """Mean share of the grid that is target, overlaps counted once."""
        return float(self.target.mean())

    @property
    def never_context(self) -> int:
        """Places that were context in no sample."""
        return int((self.context == 0).sum())

    @property
    def never_target(self) -> int:
        """Places that were target in no sample."""
        return int((self.target == 0).sum())


def measure(
    sampler: MaskSampler,
    grid: Grid,
    *,
    seed: int,
    steps: int,
    global_batch: int,
    view: int,
    progress: float = 0.0,
) -> Coverage:
    """Draw the first `steps` steps of a run and count, as if all were at one moment of it.

    Of each global batch the first trim group is drawn: the lengths are those of the run, however
    many processes share it.
    """
    batch = min(sampler.trim_group or global_batch, global_batch)
    context, target = torch.zeros(2, grid.size, dtype=torch.float64)
    lengths, sizes, blocks = [], [], 0
    for step in range(steps):
        masks = sampler.sample(batch, Rng(seed, step, batch, 0, global_batch, view, progress))
        context += torch.bincount(masks.context.flatten(), minlength=grid.size)
        hidden = torch.zeros(batch, grid.size, dtype=torch.bool)
        target += hidden.scatter_(1, masks.targets.flatten(1), True).sum(dim=0)
        lengths.append(masks.context.shape[1])
        sizes.append(masks.targets.shape[2])
        blocks = max(blocks, masks.targets.shape[1])
    samples = steps * batch
    return Coverage(
        samples=samples,
        context=context / samples,
        target=target / samples,
        context_tokens=_counts(lengths),
        target_tokens=_counts(sizes),
        targets=blocks,
    )


def _counts(numbers: list[int]) -> Counts:
    return Counts(sum(numbers) / len(numbers), min(numbers), max(numbers))
