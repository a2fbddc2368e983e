"""The features that a comparison puts side by side: trained, random init, raw baseline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np
import torch

from jepa.core.build import make_backbone
from jepa.core.config import RunConfig, apply_overrides, to_yaml
from jepa.core.data.opening import open_source
from jepa.core.data.source import Source
from jepa.core.data.workers import resolve_workers
from jepa.core.errors import ConfigError, DataError
from jepa.core.grid import Grid
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.probing import Network
from jepa.core.settings import structure, unstructure
from jepa.core.training.manifest import NAME as MANIFEST
from jepa.evaluation.comparison import Candidate
from jepa.evaluation.extraction import Extraction
from jepa.evaluation.features import choose, choose_wholes, encoded, has_content, plain
from jepa.evaluation.loading import Frozen, random_backbone
from jepa.evaluation.samples import CandidateSamples, NetworkMaker

TRAINED, RANDOM, RAW = "trained", "random init", "raw baseline"


@attrs.frozen(kw_only=True)
class Splits:
    """Sources with the same classes: one to fit on, one to score on."""

    train: Source
    test: Source

    def __attrs_post_init__(self) -> None:
        if self.train.classes != self.test.classes:
            raise DataError(
                "the samples to fit on and to score on hold different classes, found "
                f"{_few(self.train.classes)} and {_few(self.test.classes)}"
            )


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
    return Splits(train=sources[0], test=sources[1])


def candidates(
    frozen: Frozen,
    checkpoint: Path,
    splits: Splits,
    device: torch.device,
    *,
    train_samples: int | None,
    test_samples: int | None,
    random_inits: int = 1,
    trained_only: bool = False,
    cache: Path | None = None,
) -> tuple[Candidate, ...]:
    """The trained backbone, random inits, and no network at all, on the same samples.

    Nothing is computed before a protocol asks for it.

    Args:
        frozen: the trained backbone.
        checkpoint: that it comes from; its manifest tells features in the cache apart.
        splits: where the samples come from.
        device: where to compute.
        train_samples: at most so many; None: all.
        test_samples: the same; the parts of a whole count as one.
        random_inits: untrained networks of different seeds; the first has the run's own.
        trained_only: leave the other candidates out.
        cache: folder for pooled features; None: they are not kept.
    """
    backbone, modality, config = frozen
    seeds = range(config.train.seed, config.train.seed + (0 if trained_only else random_inits))
    untrained = {f"{RANDOM} {seed}": random_backbone(config, modality, seed) for seed in seeds}
    networks = {TRAINED: backbone, **untrained}
    grid = backbone.tokenizer.grid_for(modality.spec.shape)
    apart = has_content(backbone.tokenizer, modality)
    grid_of_raw = grid if apart else Grid((1,) * grid.ndim, grid.axes)
    describers = {name: encoded(network, modality, device) for name, network in networks.items()}
    if not trained_only:
        describers[RAW] = plain(backbone.tokenizer, modality, device)
    origin = _origin(checkpoint, config)
    workers = resolve_workers(config.data.workers)

    def extraction(source: Source, chosen: np.ndarray) -> Extraction:
        return Extraction(source, modality, chosen, describers, device, workers, cache, origin)

    both = (
        extraction(splits.train, choose(splits.train, train_samples)),
        extraction(splits.test, choose_wholes(splits.test, test_samples)),
    )

    def candidate(name: str, members: Sequence[str]) -> Candidate:
        def samples(part: Extraction) -> tuple[CandidateSamples, ...]:
            return tuple(
                CandidateSamples(
                    part, member, grid_of_raw if member == RAW else grid, maker(member)
                )
                for member in members
            )

        return Candidate(name=name, train=samples(both[0]), test=samples(both[1]))

    def maker(member: str) -> NetworkMaker | None:
        network = networks.get(member)
        return None if network is None else _copies(network, frozen, device)

    if trained_only:
        return (candidate(TRAINED, [TRAINED]),)
    return (
        candidate(TRAINED, [TRAINED]),
        candidate(RANDOM, list(untrained)),
        candidate(RAW, [RAW]),
    )


def _copies(network: Backbone, frozen: Frozen, device: torch.device) -> NetworkMaker:
    """Makes trainable copies of a network, under settings of its parts that hold no weights."""

    def make(settings: Sequence[str]) -> Network:
        config = frozen.config
        if settings:
            raw = apply_overrides(unstructure(config), settings)
            config = structure(raw, RunConfig, "settings of the network")
        copy = make_backbone(config, frozen.modality)
        try:
            copy.load_state_dict(network.state_dict())
        except RuntimeError as error:
            raise ConfigError(f"{', '.join(settings)}: the weights do not fit: {error}") from error
        return Network(frozen.modality.device_transform().to(device), copy.to(device))

    return make


def _origin(checkpoint: Path, config: RunConfig) -> str:
    """What determines the weights and the transform, as a digest."""
    told = (checkpoint / MANIFEST).read_bytes() + to_yaml(unstructure(config.modality)).encode()
    return hashlib.sha256(told).hexdigest()


def _few(classes: tuple[str, ...], shown: int = 3) -> str:
    more = ", ..." if len(classes) > shown else ""
    return f"{len(classes)} ({', '.join(classes[:shown])}{more})"
