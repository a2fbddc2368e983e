"""The abstract source of raw samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np

from jepa.core.modality import Content


@attrs.frozen(kw_only=True)
class Place:
    """Where a source looks.

    Args:
        root: folder or file (`data.root`), or None for sources that need none.
        split: `train`, `test` or None (everything): sub-folder, or the source's own split.
        extensions: file endings of the modality, lower case with the dot.
        cache: folder for indices that are built once.
    """

    root: Path | None
    split: str | None
    extensions: frozenset[str]
    cache: Path


@attrs.frozen
class Item:
    """One raw sample: what it holds, a name for people, its label if it has one."""

    content: Content
    name: str
    label: int | None = None


class Source(ABC):
    """Raw samples by index, in a fixed order. Built as `cls(config, place=Place)`.

    Sources travel to worker processes, so they pickle small and open files lazily.

    Raises:
        DataError: when built: the place is missing or holds no sample. It says where it looked
            and for what.
    """

    Config: ClassVar[type[Any]]
    takes_root: ClassVar[bool] = True
    """Whether samples lie at `data.root`. A source that brings its own says no, and a root is then
    refused rather than passed over; JEPA_DATA is meant for other runs."""
    gives_stretches: ClassVar[bool] = False
    """Whether content may be a `Stretch`; modalities that take none are then refused."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples."""

    @abstractmethod
    def item(self, index: int) -> Item:
        """The raw sample at `index`, 0 <= index < len.

        Raises:
            DecodeError: the sample cannot be read.
        """

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty where samples have no labels."""

    @abstractmethod
    def labels(self) -> np.ndarray | None:
        """Labels [n] int64 in [0, len(classes)), or None."""

    @abstractmethod
    def fingerprint(self) -> str:
        """A short digest of which samples stand in which order (a run resumes on the same)."""

    def wholes(self) -> np.ndarray | None:
        """Which samples are parts of one, such as clips of a film: [n] int64, equal where they are.

        Evaluation scores a whole once, by the mean of what a probe says of its parts, which have
        one label. None: every sample is a whole.
        """
        return None

    def groups(self) -> np.ndarray | None:
        """Which samples are of one origin, such as a person: [n] int64, equal where they are.

        A probe that holds samples out to choose its settings holds out all of a group, since it
        will be asked about other ones. None: the groups are the wholes.
        """
        return None


def wholes_of(source: Source) -> np.ndarray:
    """The number of each sample's whole: [n] int64; where a source says none, of the sample."""
    found = source.wholes()
    return np.arange(len(source), dtype=np.int64) if found is None else found


def groups_of(source: Source) -> np.ndarray:
    """The number of each sample's group: [n] int64; where a source says none, of its whole."""
    found = source.groups()
    return wholes_of(source) if found is None else found


class Measured(Source, ABC):
    """A source whose samples have measured quantities besides a label, such as a distance."""

    @property
    @abstractmethod
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities that `quantity` knows."""

    @abstractmethod
    def quantity(self, name: str) -> np.ndarray:
        """One number a sample: [n] float64.

        Raises:
            DataError: there is no quantity of this name.
        """
