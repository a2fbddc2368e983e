"""What a network, or nothing but the content, makes of a batch; and which samples are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

from jepa.core.data.loading import Evaluated
from jepa.core.data.source import Source, wholes_of
from jepa.core.errors import JepaError
from jepa.core.interfaces import Tokenizer
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.rng import SampleRng, Stream

KEPT_LAYERS = 4
"""Last layers whose means are kept (I-JEPA's linear probe concatenates four)."""

_CHOICE_SEED = 0


class Features(NamedTuple):
    """What one candidate makes of a batch.

    Attributes:
        layers: means over tokens [b, L, P] of the last L layers, the very last at the end.
        deviations: over the same tokens, [b, L, P]; of the baseline, which has none, [b, 1, 0].
        tokens: [b, N, D] of the last layer.
    """

    layers: Tensor
    deviations: Tensor
    tokens: Tensor


Describe = Callable[[Tensor], Features]
"""Inputs [b, *S] as the loader gives them, on the device -> their features."""


def encoded(backbone: Backbone, modality: Modality, device: torch.device) -> Describe:
    """Features of a backbone.

    Args:
        backbone: moved to the device, in evaluation mode.
        modality: prepares the inputs.
        device: where inputs will lie.
    """
    network = backbone.to(device).eval()
    prepare = modality.device_transform().to(device)
    chosen = range(-min(KEPT_LAYERS, network.encoder.depth), 0)

    def describe(inputs: Tensor) -> Features:
        outputs = network.layers(prepare(inputs), chosen)
        means = [reduce(tokens, "b N D -> b D", "mean") for tokens in outputs]
        deviations = [tokens.std(1, correction=0) for tokens in outputs]
        return Features(torch.stack(means, 1), torch.stack(deviations, 1), outputs[-1])

    return describe


def plain(tokenizer: Tokenizer, modality: Modality, device: torch.device) -> Describe:
    """No network: the modality's baseline, and the plain content of each token with its place.

    The place is what an encoder adds to a token by itself. Where tokens have no content of their
    own (see `has_content`), the baseline is the only token.
    """
    prepare = modality.device_transform().to(device)
    apart = has_content(tokenizer, modality)

    def describe(inputs: Tensor) -> Features:
        baseline = rearrange(modality.baseline(inputs).float(), "b P -> b 1 P")
        none = baseline[..., :0]
        if not apart:
            return Features(baseline, none, baseline)
        prepared = prepare(inputs)
        content = tokenizer.raw(prepared)
        grid = tokenizer.grid_for(prepared.shape[1:])
        sides = torch.tensor(grid.shape)
        places = 2 * grid.coords() / (sides - 1).clamp(min=1) - 1  # [N, A] in [-1, 1]
        where = repeat(places.to(content), "N A -> b N A", b=len(content))
        return Features(baseline, none, torch.cat([content, where], dim=2))

    return describe


def has_content(tokenizer: Tokenizer, modality: Modality) -> bool:
    """Whether each token has a plain content of its own: not so where tokens overlap."""
    try:
        tokenizer.raw(torch.zeros(1, *modality.spec.shape))
    except JepaError:
        return False
    return True


def pooled(
    backbone: Backbone, modality: Modality, device: torch.device, layers: int = 1
) -> Callable[[Tensor], Tensor]:
    """As `encoded`, but just the means of the last layers: inputs [b, *S] -> [b, D * layers]."""
    describe = encoded(backbone, modality, device)

    def means(inputs: Tensor) -> Tensor:
        return rearrange(describe(inputs).layers[:, -layers:], "b L P -> b (L P)")

    return means


def stream(
    batches: Iterable[Evaluated],
    describers: Sequence[Callable[[Tensor], Tensor]],
    device: torch.device,
) -> Iterator[tuple[Evaluated, tuple[Tensor, ...]]]:
    """Each batch with its features [b, P] float32 of every kind, on the CPU.

    Inputs are decoded once, whatever the number of kinds.
    """
    for batch in batches:
        with torch.inference_mode():
            inputs = batch.inputs.to(device, non_blocking=True)
            found = tuple(describe(inputs).float().cpu() for describe in describers)
        yield batch, found


def choose(source: Source, limit: int | None) -> np.ndarray:
    """At most `limit` indices of a source, drawn at random: ascending [k] int64.

    They depend on the source alone, so different runs are compared on the same samples.
    """
    return _drawn(len(source), limit)


def choose_wholes(source: Source, limit: int | None) -> np.ndarray:
    """All parts of at most `limit` wholes, drawn as `choose` draws samples: ascending [k] int64.

    So a source and its stretches give the same recordings.
    """
    numbers, whole = np.unique(wholes_of(source), return_inverse=True)
    return np.flatnonzero(np.isin(whole, _drawn(len(numbers), limit)))


def _drawn(n: int, limit: int | None) -> np.ndarray:
    """At most `limit` of n places: ascending [k] int64."""
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
