"""The features that a comparison puts side by side: trained, random init, raw baseline."""

from __future__ import annotations

import attrs
import torch

from jepa.core.config import RunConfig
from jepa.core.data.loading import evaluation_batches
from jepa.core.data.opening import open_source
from jepa.core.data.source import Source
from jepa.core.data.workers import resolve_workers
from jepa.core.errors import DataError
from jepa.core.modality import Modality
from jepa.evaluation.comparison import Candidate
from jepa.evaluation.features import Describe, Labelled, choose, collect, pooled
from jepa.evaluation.loading import Frozen, random_backbone

_BATCH = 256


@attrs.frozen(kw_only=True)
class Splits:
    """Labelled sources with the same classes: one to fit on, one to score on."""

    train: Source
    test: Source


def labelled_splits(
    config: RunConfig, modality: Modality, train: str = "train", test: str = "test"
) -> Splits:
    """The labelled splits of a run's own source.

    Raises:
        DataError: the source has no such splits, no labels, or splits of different classes.
    """
    sources = [open_source(config.data, modality, split) for split in (train, test)]
    for source, split in zip(sources, (train, test), strict=True):
        if source.labels() is None:
            raise DataError(f"the split '{split}' of the source has no labels")
    if sources[0].classes != sources[1].classes:
        raise DataError(
            f"the splits '{train}' and '{test}' hold different classes, found "
            f"{len(sources[0].classes)} and {len(sources[1].classes)}"
        )
    return Splits(train=sources[0], test=sources[1])


def candidates(
    frozen: Frozen,
    splits: Splits,
    device: torch.device,
    *,
    train_samples: int | None,
    test_samples: int | None,
    random_inits: int = 1,
) -> tuple[Candidate, ...]:
    """Features of the trained backbone, of random inits, and the modality's raw baseline.

    Args:
        frozen: the trained backbone.
        splits: where the samples come from.
        device: where to compute.
        train_samples: at most so many; None: all.
        test_samples: the same.
        random_inits: untrained networks of different seeds; the first has the run's own.
    """
    backbone, modality, config = frozen
    seeds = range(config.train.seed, config.train.seed + random_inits)
    networks = [backbone, *(random_backbone(config, modality, seed) for seed in seeds)]
    describers: list[Describe] = [pooled(network, modality, device) for network in networks]
    describers.append(modality.baseline)
    workers = resolve_workers(config.data.workers)

    def features(source: Source, limit: int | None) -> tuple[Labelled, ...]:
        chosen = choose(source, limit)
        batches = evaluation_batches(source, modality, _BATCH, workers, chosen)
        return collect(batches, describers, device)

    train, test = features(splits.train, train_samples), features(splits.test, test_samples)
    return (
        Candidate(name="trained", train=train[:1], test=test[:1]),
        Candidate(name="random init", train=train[1:-1], test=test[1:-1]),
        Candidate(name="raw baseline", train=train[-1:], test=test[-1:]),
    )
