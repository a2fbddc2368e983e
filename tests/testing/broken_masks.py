"""Mask samplers that break one promise each, by the check that must find it."""

from __future__ import annotations

import torch

from jepa.core import Masks, MaskSampler, Rng
from jepa.plugins.masks.random_tokens import RandomTokens


class Sampler(MaskSampler):
    """A good one, to be spoilt."""

    Config = RandomTokens.Config

    def __init__(self, config, *, grid):
        self.good, self.size = RandomTokens(config, grid=grid), grid.size

    def sample(self, batch_size, rng):
        return self.spoil(self.good.sample(batch_size, rng))

    def spoil(self, masks):
        return masks


class FlatTargets(Sampler):
    def spoil(self, masks):
        return Masks(masks.context, masks.targets[:, 0])


class SmallIntegers(Sampler):
    def spoil(self, masks):
        return Masks(masks.context.int(), masks.targets)


class NoContext(Sampler):
    def spoil(self, masks):
        return Masks(masks.context[:, :0], masks.targets)


class BesideTheGrid(Sampler):
    def spoil(self, masks):
        targets = masks.targets.clone()
        targets[..., -1] = self.size
        return Masks(masks.context, targets)


class Unsorted(Sampler):
    def spoil(self, masks):
        return Masks(masks.context.flip(1), masks.targets)


class Twice(Sampler):
    def spoil(self, masks):
        targets = masks.targets.clone()
        targets[..., 1] = targets[..., 0]
        return Masks(masks.context, targets)


class Overlapping(Sampler):
    def spoil(self, masks):
        return Masks(masks.context, masks.context[:, None])


class Remembering(Sampler):
    calls = 0

    def sample(self, batch_size, rng):
        self.calls += 1
        seed = rng.seed + self.calls if rng.step > 5 else rng.seed
        again = Rng(seed, rng.step, batch_size, rng.start, rng.global_batch)
        return self.good.sample(batch_size, again)


class Counting(Sampler):
    """Keeps as many context tokens as the share of the batch has rows."""

    def spoil(self, masks):
        return Masks(masks.context[:, : 1 + len(masks.context) % 4], masks.targets)


class OnDefaultDevice(Sampler):
    def spoil(self, masks):
        return Masks(masks.context + torch.zeros(1, dtype=torch.int64), masks.targets)


class Unpicklable(Sampler):
    def __init__(self, config, *, grid):
        super().__init__(config, grid=grid)
        self.spoil = lambda masks: masks


class Seeding(Sampler):
    def spoil(self, masks):
        torch.manual_seed(0)
        return masks


BROKEN = {
    FlatTargets: "shapes",
    SmallIntegers: "dtypes",
    NoContext: "non_empty",
    BesideTheGrid: "bounds",
    Unsorted: "ascending",
    Twice: "ascending",
    Overlapping: "disjoint",
    Remembering: "repeats",
    Counting: "windows",
    OnDefaultDevice: "on_meta",
    Unpicklable: "pickles",
    Seeding: "generators",
}
