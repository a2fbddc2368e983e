"""The batch that observers look at: the same for the whole run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cached_property

import attrs
import numpy as np
import torch
from torch import Tensor

from jepa.core.config import RunConfig
from jepa.core.data.held_out import HeldOut
from jepa.core.data.loading import evaluation_batches
from jepa.core.data.source import Source
from jepa.core.errors import DataError
from jepa.core.interfaces import MaskSampler
from jepa.core.modality import Modality
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.core.training.observer import FixedBatch

_SAMPLES = 64
_TRIED = 4096
"""Samples that are tried, beside the spread ones, before a batch is given up."""
_STEP = 2**40
"""Beyond any run, so that the fixed masks are nobody's training masks."""


@attrs.frozen
class Fixed:
    """Makes the batch when it is first asked for.

    Args:
        config: of the run.
        source: of the training samples.
        held_out: gives the samples to take instead, or None.
        modality: decodes them.
        samplers: of each view.
        device: where the batch will lie.
    """

    config: RunConfig
    source: Source
    held_out: Callable[[], HeldOut | None]
    modality: Modality
    samplers: Sequence[MaskSampler]
    device: torch.device

    def __call__(self) -> FixedBatch:
        """The batch on the device.

        Raises:
            DataError: none of its samples can be decoded.
        """
        return self._made

    @cached_property
    def _made(self) -> FixedBatch:
        held = self.held_out()
        try:
            inputs = self._inputs(self.source if held is None else held.source)
        except DataError:
            if held is None:
                raise
            # Damage outside the training samples is no reason to end a run.
            inputs = self._inputs(self.source)
        masks = fixed_masks(self.samplers, self.config.train.seed, len(inputs), self.device)
        return FixedBatch(inputs.to(self.device), masks)

    def _inputs(self, source: Source) -> Tensor:
        n = len(source)
        wanted = min(_SAMPLES, n, self.config.train.global_batch)
        # Spread, since sources often stand class by class; others step in for damaged ones.
        spread = np.arange(wanted) * n // wanted
        order = np.concatenate([spread, np.setdiff1d(np.arange(min(n, _TRIED)), spread)])
        singles = evaluation_batches(source, self.modality, 1, workers=0, indices=order)
        return torch.cat([found.inputs for found in itertools.islice(singles, wanted)])


def fixed_masks(
    samplers: Sequence[MaskSampler], seed: int, samples: int, device: torch.device, draw: int = 0
) -> tuple[Masks, ...]:
    """Masks of each view that no step of a run has; as at its end, where they change over it.

    Args:
        samplers: of each view.
        seed: of the run.
        samples: B.
        device: where the masks will lie.
        draw: 0 for those of the fixed batch; others give others.
    """
    views = (
        _of_groups(sampler, Rng(seed, _STEP + draw, samples, 0, samples, view, 1.0))
        for view, sampler in enumerate(samplers)
    )
    return tuple(Masks(*(part.to(device) for part in masks)) for masks in views)


def _of_groups(sampler: MaskSampler, rng: Rng) -> Masks:
    """Masks of all places of `rng`, whose trim groups have lengths of their own: the least of
    them, by tokens spread over each row."""
    total = rng.batch_size
    group = min(sampler.trim_group or total, total)
    drawn = []
    for start in range(0, total, group):
        size = min(group, total - start)
        drawn.append(sampler.sample(size, attrs.evolve(rng, start=start, batch_size=size)))
    return Masks(*(_cut(parts) for parts in zip(*drawn, strict=True)))


def _cut(parts: Sequence[Tensor]) -> Tensor:
    """Rows [b, ..., n] of groups, each cut to the shortest n and put together: [B, ..., n]."""
    keep = min(part.shape[-1] for part in parts)
    spread = (np.linspace(0, part.shape[-1] - 1, keep).round() for part in parts)
    return torch.cat(
        [part[..., torch.from_numpy(at).long()] for part, at in zip(parts, spread, strict=True)]
    )
