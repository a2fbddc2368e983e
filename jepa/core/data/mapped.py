"""Arrays that are computed once, kept in a file and memory-mapped from then on.

The file holds a digest of the rest (32 bytes), then one npy record an array. Nothing is pickled.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

import attrs
import numpy as np
from numpy.lib import format as npy

from jepa.core.errors import DataError

_DIGEST = 32


@attrs.frozen
class MappedArrays:
    """The arrays of one file; they travel to other processes as the file's path."""

    path: Path
    digest: bytes
    arrays: tuple[np.ndarray, ...] = attrs.field(repr=False, eq=False)

    def __reduce__(self) -> tuple[object, ...]:
        return _reopen, (self.path, self.digest)


def _reopen(path: Path, digest: bytes) -> MappedArrays:
    found = load(path)
    if found is None or found.digest != digest:
        raise DataError(f"{path}: another process has replaced this index; start the run again")
    return found


def load(path: Path) -> MappedArrays | None:
    """Map the arrays of a file, or return None where it is absent or damaged."""
    try:
        raw = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError):  # ValueError: an empty file cannot be mapped
        return None
    digest = raw[:_DIGEST].tobytes()
    if hashlib.blake2b(raw[_DIGEST:].data, digest_size=_DIGEST).digest() != digest:
        return None
    arrays = []
    with path.open("rb") as file:
        file.seek(_DIGEST)
        while file.tell() < len(raw):
            npy.read_magic(file)
            shape, _, dtype = npy.read_array_header_1_0(file)
            start = file.tell()
            stop = start + int(np.prod(shape)) * dtype.itemsize
            arrays.append(raw[start:stop].view(dtype).reshape(shape))
            file.seek(stop)
    return MappedArrays(path, digest, tuple(arrays))


def save(path: Path, arrays: Iterable[np.ndarray]) -> MappedArrays:
    """Write arrays to a file and map it. Processes may write the same file at once.

    A file that already holds just these arrays stays, since others may have mapped it.

    Raises:
        DataError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            temporary = Path(file.name)
            try:
                digest = _write(file.file, arrays)
                existing = load(path)
                if existing is not None and existing.digest == digest:
                    return existing
                temporary.chmod(0o644)  # a cache may be shared
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"{path}: the index of the samples cannot be written ({error.strerror}); set "
            "data.cache or JEPA_CACHE to a folder that can be written to"
        ) from error
    found = load(path)
    if found is None:
        raise DataError(f"{path}: the index of the samples was damaged just after it was written")
    return found


def _write(file: IO[bytes], arrays: Iterable[np.ndarray]) -> bytes:
    body = io.BytesIO()
    for array in arrays:
        npy.write_array(body, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    digest = hashlib.blake2b(body.getbuffer(), digest_size=_DIGEST).digest()
    file.write(digest)
    file.write(body.getbuffer())
    file.flush()
    os.fsync(file.fileno())
    return digest


@attrs.frozen
class PackedNames:
    """Many byte strings in two arrays: [total] uint8 and the end of each, [n] int64."""

    data: np.ndarray
    ends: np.ndarray

    @classmethod
    def pack(cls, names: Sequence[bytes]) -> PackedNames:
        """Pack names in their order."""
        lengths = np.fromiter(map(len, names), dtype=np.int64, count=len(names))
        return cls(np.frombuffer(b"".join(names), dtype=np.uint8), np.cumsum(lengths))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        if not 0 <= index < len(self.ends):
            raise IndexError(index)
        start = self.ends[index - 1] if index else 0
        return self.data[start : self.ends[index]].tobytes()

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def digest(self) -> str:
        """A short digest of the names in their order."""
        digest = hashlib.blake2b(self.data.data, digest_size=8)
        digest.update(self.ends.data)
        return digest.hexdigest()
