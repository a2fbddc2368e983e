"""Samples of a source that a run does not train on."""

from __future__ import annotations

from typing import NamedTuple

from jepa.core.config import DataConfig
from jepa.core.data.opening import open_source
from jepa.core.data.source import Source
from jepa.core.errors import DataError
from jepa.core.modality import Modality

SPLITS = ("test", "val")
"""Names under which held-out samples are looked for, in this order."""


class HeldOut(NamedTuple):
    """A split that a run does not train on."""

    source: Source
    split: str


def held_out(config: DataConfig, modality: Modality, trained: Source) -> HeldOut | None:
    """The source's other split, or None where it has none.

    A run without `data.split` may train on everything, so then only a source counts whose split
    `train` is what it gives without being asked.

    Args:
        config: the run's `data`.
        modality: tells which file endings are samples.
        trained: what the run trains on.
    """
    if config.split is None:
        default = _open(config, modality, "train")
        if default is None or default.fingerprint() != trained.fingerprint():
            return None
    for split in SPLITS:
        found = None if split == config.split else _open(config, modality, split)
        if found is not None:
            return HeldOut(found, split)
    return None


def _open(config: DataConfig, modality: Modality, split: str) -> Source | None:
    try:
        return open_source(config, modality, split)
    except DataError:
        return None
