"""Frozen features of the samples of a source, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import reduce
from torch import Tensor

from jepa.core.data.loading import Evaluated
from jepa.core.data.source import Source
from jepa.core.errors import DataError
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.rng import SampleRng, Stream

Describe = Callable[[Tensor], Tensor]
"""Inputs [B, *S] as the loader gives them, on the device -> features [B, P]."""

_CHOICE_SEED = 0


class Labelled(NamedTuple):
    """Features of one kind, `features` [n, P] float32, with `labels` [n] int64; on the CPU."""

    features: Tensor
    labels: Tensor


def pooled(
    backbone: Backbone, modality: Modality, device: torch.device, layers: int = 1
) -> Describe:
    """Features of a backbone: the mean over the tokens of its last layer.

    Args:
        backbone: moved to the device, in evaluation mode.
        modality: prepares the inputs.
        device: where inputs will lie.
        layers: the last so many layers, concatenated (I-JEPA's alternative is 4); P = D * layers.
    """
    network = backbone.to(device).eval()
    prepare = modality.device_transform().to(device)
    chosen = range(-layers, 0)

    def describe(inputs: Tensor) -> Tensor:
        outputs = network.layers(prepare(inputs), chosen)
        means = [reduce(tokens, "B N D -> B D", "mean") for tokens in outputs]
        return torch.cat(means, dim=1)

    return describe


def stream(
    batches: Iterable[Evaluated], describers: Sequence[Describe], device: torch.device
) -> Iterator[tuple[Evaluated, tuple[Tensor, ...]]]:
    """Each batch with its features [B, P] float32 of every kind, on the CPU.

    Inputs are decoded once, whatever the number of kinds.
    """
    for batch in batches:
        with torch.inference_mode():
            inputs = batch.inputs.to(device, non_blocking=True)
            found = tuple(describe(inputs).float().cpu() for describe in describers)
        yield batch, found


def collect(
    batches: Iterable[Evaluated], describers: Sequence[Describe], device: torch.device
) -> tuple[Labelled, ...]:
    """All features of every kind, with their labels, in the order of the batches.

    Raises:
        DataError: samples have no labels.
    """
    labels: list[Tensor] = []
    found: list[tuple[Tensor, ...]] = []
    for batch, features in stream(batches, describers, device):
        if batch.labels is None:
            raise DataError("these samples have no labels, so nothing can be fitted to them")
        labels.append(batch.labels)
        found.append(features)
    everyone = torch.cat(labels)
    return tuple(Labelled(torch.cat(parts), everyone) for parts in zip(*found, strict=True))


def choose(source: Source, limit: int | None) -> np.ndarray:
    """At most `limit` indices of a source, drawn at random: ascending [k] int64.

    They depend on the source alone, so different runs are compared on the same samples.
    """
    n = len(source)
    if limit is None or limit >= n:
        return np.arange(n)
    drawn = SampleRng(_CHOICE_SEED, 0, n, Stream.EVALUATION).uniforms(n)
    return np.sort(np.argsort(drawn)[:limit])


def samples_to_show(source: Source, limit: int) -> np.ndarray:
    """At most `limit` indices for pictures: the first of each class, or spread over the source."""
    labels = source.labels()
    if labels is not None:
        _, first = np.unique(labels, return_index=True)
        return first[:limit]
    return np.arange(min(limit, len(source))) * len(source) // min(limit, len(source))
