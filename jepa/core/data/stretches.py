"""Samples that are parts of other samples: pieces of long ones, and both directions of time."""

from __future__ import annotations

import hashlib
from typing import final

import attrs
import numpy as np

from jepa.core.data.source import Item, Measured, Place, Source, groups_of, wholes_of
from jepa.core.errors import DataError
from jepa.core.modality import part_of
from jepa.core.settings import SourcePart, positive


def _inner(part: SourcePart, place: Place) -> Source:
    source: Source = part.cls(part.config, place=place)
    return source


def _quantities(source: Source) -> tuple[str, ...]:
    return source.quantities if isinstance(source, Measured) else ()


def _quantity(source: Source, name: str) -> np.ndarray:
    if not isinstance(source, Measured):
        raise DataError(f"asked for the quantity '{name}', but the samples have none")
    return source.quantity(name)


def _digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=8).hexdigest()


@final
class Stretches(Measured):
    """Each sample of another source as several: its equal parts along the first axis, in order.

    A long recording so counts by its length, and an epoch sees each of its parts. Labels, classes
    and measured quantities are the other source's. Parts are named `NAME [2/4]`; evaluation scores
    all parts of a sample as one (`Source.wholes`).
    """

    gives_stretches = True

    @attrs.frozen(kw_only=True)
    class Config:
        """Which samples, and into how many parts they go."""

        source: SourcePart
        """Of whole samples, such as `{name: class_folders}`."""
        count: int = attrs.field(default=4, validator=positive)
        """Parts of each sample."""

    def __init__(self, config: Config, place: Place) -> None:
        self._whole = _inner(config.source, place)
        self._count = config.count

    def __len__(self) -> int:
        return len(self._whole) * self._count

    def item(self, index: int) -> Item:
        """Part `index % count` of the sample `index // count`."""
        place, number = divmod(index, self._count)
        item = self._whole.item(place)
        content = part_of(item.content, number / self._count, (number + 1) / self._count)
        return Item(content, f"{item.name} [{number + 1}/{self._count}]", item.label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the whole samples."""
        return self._whole.classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64 of the whole samples, each for all its parts; or None."""
        found = self._whole.labels()
        return None if found is None else np.repeat(found, self._count)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of the whole samples; none where these are not measured."""
        return _quantities(self._whole)

    def quantity(self, name: str) -> np.ndarray:
        """One number a part, that of its whole sample: [n] float64.

        Raises:
            DataError: there is no quantity of this name.
        """
        return np.repeat(_quantity(self._whole, name), self._count)

    def fingerprint(self) -> str:
        """A digest of the whole samples' fingerprint and the count."""
        return _digest("stretches", str(self._count), self._whole.fingerprint())

    def wholes(self) -> np.ndarray:
        """The other source's wholes, or its samples: [n] int64."""
        return np.repeat(wholes_of(self._whole), self._count)

    def groups(self) -> np.ndarray | None:
        """Those of the other source: [n] int64, or None."""
        found = self._whole.groups()
        return None if found is None else np.repeat(found, self._count)


@final
class ArrowOfTime(Measured):
    """Each sample of another source twice, forwards and backwards, which are the classes.

    For probes: who tells them apart knows something of how things go. Samples are named `NAME
    forwards` and `NAME backwards`, and stand next to each other.
    """

    gives_stretches = True

    @attrs.frozen(kw_only=True)
    class Config:
        """Which samples are seen both ways."""

        source: SourcePart
        """Of the samples, such as `{name: folder}`. Their own labels do not count."""

    def __init__(self, config: Config, place: Place) -> None:
        self._forwards = _inner(config.source, place)

    def __len__(self) -> int:
        return 2 * len(self._forwards)

    def item(self, index: int) -> Item:
        """Sample `index // 2`; backwards where the index is odd."""
        place, label = divmod(index, 2)
        item = self._forwards.item(place)
        content = part_of(item.content, 1.0, 0.0) if label else item.content
        return Item(content, f"{item.name} {self.classes[label]}", label)

    @property
    def classes(self) -> tuple[str, ...]:
        """`forwards` and `backwards`."""
        return ("forwards", "backwards")

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64: 0 and 1 in turn."""
        return np.tile(np.arange(2, dtype=np.int64), len(self._forwards))

    @property
    def quantities(self) -> tuple[str, ...]:
        """Those of the samples; none where these are not measured."""
        return _quantities(self._forwards)

    def quantity(self, name: str) -> np.ndarray:
        """One number a sample, the same both ways: [n] float64.

        Raises:
            DataError: there is no quantity of this name.
        """
        return np.repeat(_quantity(self._forwards, name), 2)

    def fingerprint(self) -> str:
        """A digest of the samples' fingerprint."""
        return _digest("arrow_of_time", self._forwards.fingerprint())

    def wholes(self) -> np.ndarray | None:
        """The other source's wholes, each twice: [n] int64, or None."""
        found = self._forwards.wholes()
        if found is None:
            return None
        return np.repeat(2 * found, 2) + np.tile(np.arange(2, dtype=np.int64), len(found))

    def groups(self) -> np.ndarray:
        """Both directions of a sample are of one origin: [n] int64."""
        return np.repeat(groups_of(self._forwards), 2)
