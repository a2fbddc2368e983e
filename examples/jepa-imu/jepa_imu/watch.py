"""The source `watch_imu`: exercises of the shoulder, seen by a watch on the wrist."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import attrs
import numpy as np

from jepa.core import DataError, Item, Place, Source, positive

_ARRAYS = ("x", "offsets", "y", "subject", "classes", "rate")
_SPLITS = ("train", "test")


class Recordings(NamedTuple):
    """140 series, one behind the other.

    Attributes:
        values: [sum of n, C].
        offsets: where series begin, and where the last one ends: [series + 1].
        exercise: of each series, an index of `classes`.
        person: of each series, from 1.
        classes: names of the exercises.
        rate: values a second.
    """

    values: np.ndarray
    offsets: np.ndarray
    exercise: np.ndarray
    person: np.ndarray
    classes: tuple[str, ...]
    rate: float


@final
class WatchImu(Source):
    """Windows of series of ten people who do seven exercises, 6 channels at 50 values a second.

    `data.root` is the file `watch_imu.npz` (see the README for where it comes from). The label of a
    window is its exercise. `data.split` is by people: `test` holds those of `held_out`, `train` all
    others, and no split everybody. A person in the test was never seen in training.

    Data: D. M. Burns et al., arXiv 1802.01489; published with seglearn under a BSD licence.

    Raises:
        DataError: no such file or split, or no window of these people.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Which people, and how series are cut."""

        held_out: tuple[int, ...] = (8, 9, 10)
        """People of the split `test`."""
        people: tuple[int, ...] | None = None
        """People that there are, as if the others had not been recorded; null: all."""
        seconds: float = attrs.field(default=4.0, validator=positive)
        """Length of a window. What is left over at the end of a series is not used."""
        hop: float = attrs.field(default=2.0, validator=positive)
        """Seconds from where one window of a series begins to where the next one does."""

    def __init__(self, config: Config, place: Place) -> None:
        self._config, self._place = config, place
        self._path = _file(place)
        self._data = _read(self._path)
        people = self._people(config, place.split)
        self._length = max(1, round(config.seconds * self._data.rate))
        hop = max(1, round(config.hop * self._data.rate))
        lengths = np.diff(self._data.offsets)
        self._windows = [
            (series, int(first))
            for series in np.flatnonzero(np.isin(self._data.person, people))
            for first in np.arange(0, lengths[series] - self._length + 1, hop)
        ]
        if not self._windows:
            raise DataError(
                f"{self._path}: no window of {config.seconds:g} s of the people {people}; the "
                f"longest series has {lengths.max() / self._data.rate:g} s"
            )

    def _people(self, config: Config, split: str | None) -> list[int]:
        """The people of a split.

        Raises:
            DataError: no such split, or no such people.
        """
        known = sorted(set(self._data.person.tolist()))
        if split is not None and split not in _SPLITS:
            raise DataError(f"data.split of watch_imu: found '{split}', allowed: test, train")
        strange = sorted({*config.held_out, *(config.people or ())} - set(known))
        if strange:
            raise DataError(f"{self._path}: found the people {strange}, allowed: {known}")
        there = known if config.people is None else sorted(set(config.people))
        if split is None:
            return there
        return [person for person in there if (person in config.held_out) == (split == "test")]

    def __reduce__(self) -> tuple[Any, ...]:
        return WatchImu, (self._config, self._place)

    def __len__(self) -> int:
        return len(self._windows)

    def item(self, index: int) -> Item:
        """A window: float32 [n, C]."""
        series, first = self._windows[index]
        begin = int(self._data.offsets[series]) + first
        values = self._data.values[begin : begin + self._length].astype(np.float32)
        exercise = int(self._data.exercise[series])
        person = int(self._data.person[series])
        named = f"{self._data.classes[exercise]}/person{person}/series{series}@{first}"
        return Item(values, named, exercise)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the seven exercises."""
        return self._data.classes

    def labels(self) -> np.ndarray:
        """Labels [n] int64."""
        series = [series for series, _ in self._windows]
        return np.array(self._data.exercise[series], dtype=np.int64)

    def groups(self) -> np.ndarray:
        """People [n] int64: probes, too, choose their settings on people that they do not know."""
        return np.array(self._data.person[[series for series, _ in self._windows]], dtype=np.int64)

    def fingerprint(self) -> str:
        """A digest of the values, the exercises and the windows."""
        digest = hashlib.blake2b(digest_size=8)
        for array in (self._data.values, self._data.exercise, np.array(self._windows)):
            digest.update(np.ascontiguousarray(array).data)
        digest.update(str(self._length).encode())
        return digest.hexdigest()


def _file(place: Place) -> Path:
    """The file that `data.root` names.

    Raises:
        DataError: it names none.
    """
    if place.root is None:
        raise DataError("data.root is not set: set data.root=PATH to the file watch_imu.npz")
    path = place.root.expanduser().absolute()
    if not path.is_file():
        raise DataError(f"data.root {path}: no such file; allowed: the file watch_imu.npz")
    return path


def _read(path: Path) -> Recordings:
    """The arrays of the file. Nothing pickled is read.

    Raises:
        DataError: it is no such file.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = _missing(file.files)
            if missing:
                raise DataError(
                    f"{path}: no array {', '.join(missing)}; it holds: {', '.join(file.files)}"
                )
            x, offsets, exercise, person, classes, rate = (file[name] for name in _ARRAYS)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    return Recordings(x, offsets, exercise, person, tuple(map(str, classes)), float(rate))


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in _ARRAYS if name not in names]
