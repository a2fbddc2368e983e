"""Rendered scenes and their facts on the disk.

A picture is rendered when it is first asked for and kept in its place of one file, behind a digest
of itself. So a random order costs no more than a straight one, a file that is torn, cut or damaged
is noticed a picture at a time, and processes may write the same picture at once: they write the
same bytes. Places that nobody asked for are holes that take no room on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np

from jepa.core.data import mapped
from jepa.core.errors import DataError

_DIGEST = 16
_BLOCK = 2000  # scenes of one file of facts


class Record(NamedTuple):
    """A picture, uint8 [S, S, 3], and its facts, [F] float64."""

    picture: np.ndarray
    facts: np.ndarray


@attrs.define
class Pictures:
    """The pictures of the first `limit` scenes, as far as they were rendered.

    It travels to other processes without its open file.

    Args:
        path: of the file.
        size: of the pictures.
        facts: numbers that stand with each.
        limit: places; the file is at most limit * (16 + 8 * facts + 3 * size^2) bytes long.
    """

    path: Path
    size: int
    facts: int
    limit: int
    _handle: int | None = attrs.field(default=None, init=False, repr=False)
    _refusal: OSError | None = attrs.field(default=None, init=False, repr=False)

    def __reduce__(self) -> tuple[object, ...]:
        return Pictures, (self.path, self.size, self.facts, self.limit)

    def __del__(self) -> None:
        if self._handle is not None:
            os.close(self._handle)

    def get(self, index: int, make: Callable[[int], Record]) -> Record:
        """The record at `index`: from the file, else made and written there.

        Raises:
            DataError: the file cannot be written to.
        """
        if index >= self.limit:
            return make(index)
        try:
            found = self._read(index)
            if found is None:
                found = make(index)
                self._write(index, found)
        except OSError as error:
            raise DataError(f"{_refused(self.path, error)}, or data.source.cached=0") from error
        return found

    @property
    def _length(self) -> int:
        return _DIGEST + 8 * self.facts + 3 * self.size**2

    def _open(self) -> int:
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                if not self.path.exists():
                    raise
                # Somebody else's cache may hold all that is asked for.
                self._handle, self._refusal = os.open(self.path, os.O_RDONLY), error
        return self._handle

    def _read(self, index: int) -> Record | None:
        raw = os.pread(self._open(), self._length, index * self._length)
        digest, body = raw[:_DIGEST], raw[_DIGEST:]
        if len(raw) < self._length or _digest(index, body) != digest:
            return None
        facts = np.frombuffer(body, dtype="<f8", count=self.facts)
        pixels = np.frombuffer(body, dtype=np.uint8, offset=8 * self.facts)
        return Record(pixels.reshape(self.size, self.size, 3), facts)

    def _write(self, index: int, record: Record) -> None:
        body = record.facts.astype("<f8").tobytes() + record.picture.tobytes()
        data = _digest(index, body) + body
        handle = self._open()
        if self._refusal is not None:
            raise self._refusal
        if os.pwrite(handle, data, index * self._length) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _refused(path: Path, error: OSError) -> str:
    return (
        f"{path}: scenes cannot be kept ({error.strerror}); set data.cache or JEPA_CACHE to a "
        "folder that can be written to"
    )


def _digest(index: int, body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST, salt=index.to_bytes(8, "little")).digest()


def table(folder: Path, count: int, facts: Callable[[int], Sequence[float]]) -> np.ndarray:
    """The facts of the first `count` scenes: [count, F] float64, from files where they hold.

    Raises:
        DataError: the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)  # before the work, not behind it
    except OSError as error:
        raise DataError(_refused(folder, error)) from error
    blocks = []
    for first in range(0, count, _BLOCK):
        last = min(first + _BLOCK, count)
        path = folder / f"facts_{first}_{last}.idx"
        kept = mapped.load(path)
        if kept is None:
            found = np.array([facts(index) for index in range(first, last)], dtype=np.float64)
            kept = mapped.save(path, [found])
        blocks.append(kept.arrays[0])
    return np.concatenate(blocks)
