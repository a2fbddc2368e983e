"""The online k-NN: do the features tell classes apart, while the run goes on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import attrs
import numpy as np
import torch
from einops import reduce
from torch import Tensor

from jepa.core.data.loading import evaluation_batches
from jepa.core.data.source import Source, groups_of
from jepa.core.errors import DataError
from jepa.core.neighbours import votes
from jepa.core.settings import non_negative, positive
from jepa.core.training.observer import RunView
from jepa.observers.looking import looking

_CLASSES = 50
"""Of many classes so many take part, so that each has neighbours to offer."""
_K = 20
_TEMPERATURE = 0.07
_BATCH = 64


@attrs.frozen(kw_only=True)
class ProbeConfig:
    """How often and how closely the online k-NN looks."""

    every: int = attrs.field(default=1000, validator=non_negative)
    """Steps between two; the start and the last step have one too. 0: never."""
    known: int = attrs.field(default=800, validator=positive)
    """Training samples that vote."""
    asked: int = attrs.field(default=400, validator=positive)
    """Held-out samples that are classified; other training samples where none are held out."""
    memory_mib: int = attrs.field(default=256, validator=positive)
    """Memory for decoded samples; larger samples are fewer."""


class Decoded(NamedTuple):
    """Samples in memory: `inputs` [n, *S] as the loader gives them, `labels` [n] int64."""

    inputs: Tensor
    labels: Tensor


class Samples(NamedTuple):
    """What the probe looks at: `known` vote, `asked` are classified."""

    known: Decoded
    asked: Decoded


def load_samples(config: ProbeConfig, run: RunView) -> Samples | None:
    """Decode the samples, the same in whatever process; None where there are no labels.

    Raises:
        DataError: none can be decoded, or too few are there.
    """
    labels = run.source.labels()
    if labels is None or len(run.source.classes) < 2:
        return None
    share = affordable(config, run)
    voting, asking = int(config.known * share), int(config.asked * share)
    classes = spread(np.unique(labels), _CLASSES)
    held = run.held_out()
    given = None if held is None else held.source.labels()
    if held is not None and given is not None and held.source.classes == run.source.classes:
        known = of_classes(labels, classes, voting)
        asked = of_classes(given, classes, asking)
        return Samples(_decode(run, run.source, known), _decode(run, held.source, asked))
    known, asked = divided(labels, groups_of(run.source), classes, (voting, asking))
    return Samples(_decode(run, run.source, known), _decode(run, run.source, asked))


def divided(
    labels: np.ndarray, groups: np.ndarray, classes: np.ndarray, limits: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Training samples that vote, and others that are asked, at most so many: [k], [m] int64.

    Where samples hang together, every third group is asked: a model that knows a recording again
    knows no class.

    Raises:
        DataError: none is left to ask.
    """
    numbers = np.unique(groups)
    if 1 < len(numbers) < len(labels):
        third = np.isin(groups, numbers[min(2, len(numbers) - 1) :: 3])
        voters, others = np.flatnonzero(~third), np.flatnonzero(third)
        known = voters[of_classes(labels[voters], classes, limits[0])]
    else:
        known = of_classes(labels, classes, min(limits[0], 2 * len(labels) // 3))
        others = np.setdiff1d(np.arange(len(labels)), known)
    asked = others[of_classes(labels[others], classes, limits[1])]
    if len(asked) == 0:
        raise DataError(f"{len(labels)} labelled samples are too few: none is left to ask")
    return known, asked


def of_classes(labels: np.ndarray, classes: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` indices of samples of some classes, as many of each, spread over the class.

    Args:
        labels: of all samples, [n] int64.
        classes: the classes that count, [c] int64.
        limit: at least one a class is given all the same.

    Returns:
        Ascending [k] int64.
    """
    each = max(1, limit // len(classes))
    found = [spread(np.flatnonzero(labels == label), each) for label in classes]
    return np.sort(np.concatenate(found))


def spread(values: np.ndarray, limit: int) -> np.ndarray:
    """At most `limit` evenly spaced ones of some values: [n] -> [min(n, limit)]."""
    n = len(values)
    chosen: np.ndarray = values if n <= limit else values[np.arange(limit) * n // limit]
    return chosen


def affordable(config: ProbeConfig, run: RunView) -> float:
    """The share of the samples that the memory holds, at most 1."""
    one = run.fixed_batch().inputs[0]
    wanted = (config.known + config.asked) * one.numel() * one.element_size()
    return min(1.0, config.memory_mib * 2**20 / wanted)


def _decode(run: RunView, source: Source, indices: np.ndarray) -> Decoded:
    batches = list(evaluation_batches(source, run.modality, _BATCH, workers=0, indices=indices))
    labels = [batch.labels for batch in batches if batch.labels is not None]
    return Decoded(torch.cat([batch.inputs for batch in batches]), torch.cat(labels))


@torch.no_grad()
def accuracy(samples: Samples, run: RunView) -> float:
    """Share of `asked` whose class the nearest of `known` say, by cosine over the mean token.

    Features are those that users evaluate: the target's, or the online network's without one.
    """
    with looking(run):
        known, asked = (_features(part.inputs, run) for part in samples)
    found = votes(known, samples.known.labels, asked, _K, _TEMPERATURE).argmax(1)
    return float((found == samples.asked.labels).double().mean())


def _features(inputs: Tensor, run: RunView) -> Tensor:
    """Mean tokens [n, D] float32, on the CPU."""
    network = run.model.target.backbone or run.model.backbone

    def batches() -> Iterator[Tensor]:
        for part in torch.split(inputs, _BATCH):
            tokens = network(run.model.prepare(part.to(run.device)))
            yield reduce(tokens, "B N D -> B D", "mean").float().cpu()

    return torch.cat(list(batches()))
