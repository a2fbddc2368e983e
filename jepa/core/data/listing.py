"""The files below a folder, listed once and remembered."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from pathlib import Path

import attrs
import numpy as np

from jepa.core.data import mapped
from jepa.core.data.mapped import MappedArrays, PackedNames
from jepa.core.data.source import Place
from jepa.core.errors import DataError, did_you_mean

_VERSION = "files 1"
_UNCERTAIN_NS = 2_000_000_000
"""A folder changed this recently may change again within one tick of its file system's clock."""
_UNKNOWN = (-1, -1)


def require_root(place: Place) -> Path:
    """`data.root`, made absolute, with the split below it.

    Raises:
        DataError: there is no root, or nothing stands there.
    """
    if place.root is None:
        raise DataError(
            "data.root is not set: set data.root=PATH, or JEPA_DATA in the environment, to the "
            "folder or file of the samples"
        )
    root = place.root.expanduser().absolute()
    if not root.exists():
        raise DataError(f"data.root {root}: no such file or folder")
    return root


def split_folder(place: Place) -> Path:
    """The folder that a source of files searches: `data.root`, or its sub-folder `data.split`.

    Raises:
        DataError: it is missing, or no folder.
    """
    root = require_root(place)
    if not root.is_dir():
        raise DataError(
            f"data.root {root}: this is a file, and the source reads a folder; tar files are read "
            "by the source 'shards', npz, npy and idx files by 'arrays'"
        )
    if place.split is None:
        return root
    folder = root / place.split
    if not folder.is_dir():
        names = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] != ".")
        shown = ", ".join(names[:20]) or "none"
        raise DataError(
            f"data.split '{place.split}': {root} has no such sub-folder; it has: {shown}"
            f"{did_you_mean(place.split, names)}"
        )
    return folder


def cache_file(place: Place, version: str, folder: Path) -> Path:
    """Where the index of one place is kept."""
    key = "\0".join([version, str(folder), *sorted(place.extensions)])
    digest = hashlib.sha256(os.fsencode(key)).hexdigest()[:24]
    return place.cache / "indices" / f"{digest}.idx"


@attrs.frozen
class FileList:
    """Files below a folder, by relative path in the order of its bytes: equal on all machines.

    Files at any depth with one of the modality's endings. Links to files and folders are
    followed; names that start with a dot are passed over.

    The list is kept in the cache. It is renewed when a folder was changed, seen from the inode and
    the modification time of every folder below, which one `stat` a folder finds out. So the check
    costs as many `stat` calls as there are folders; it does not notice that a file's content was
    replaced in place, nor a change that put a folder's modification time back.
    """

    folder: Path
    _index: MappedArrays

    @classmethod
    def of(cls, place: Place) -> FileList:
        """List the files of a place, from the cache where it still holds.

        Raises:
            DataError: the folder is missing, cannot be read, or holds no such file.
        """
        folder = split_folder(place)
        path = cache_file(place, _VERSION, folder)
        try:
            index = mapped.load(path)
            if index is None or not _is_fresh(folder, index):
                index = mapped.save(path, _walk(folder, place.extensions))
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read: {error.strerror}") from error
        return cls(folder, index)

    @property
    def names(self) -> PackedNames:
        """Relative paths as bytes, with `/` between folders."""
        return PackedNames(*self._index.arrays[0:2])

    @property
    def folders(self) -> PackedNames:
        """Relative paths of all folders below, sorted; the first is empty: the folder itself."""
        return PackedNames(*self._index.arrays[2:4])


def _is_fresh(folder: Path, index: MappedArrays) -> bool:
    folders = PackedNames(*index.arrays[2:4])
    for position, stamp in enumerate(index.arrays[4]):
        try:
            if _stamp(folder / os.fsdecode(folders[position])) != tuple(stamp):
                return False
        except OSError:
            return False
    return True


def _stamp(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_ino, stat.st_mtime_ns


def _walk(root: Path, extensions: frozenset[str]) -> list[np.ndarray]:
    """Arrays of the index: names (2), folders (2), stamps [folders, 2]."""
    started = time.time_ns()
    names: list[bytes] = []
    stamps: dict[bytes, tuple[int, int]] = {}
    others: Counter[str] = Counter()
    todo: list[tuple[str, frozenset[tuple[int, int]]]] = [("", frozenset())]
    while todo:
        relative, above = todo.pop()
        folder = root / relative
        stat = folder.stat()
        identity = (stat.st_dev, stat.st_ino)
        if identity in above:  # a link that leads back to where it came from
            continue
        recent = stat.st_mtime_ns > started - _UNCERTAIN_NS
        stamps[os.fsencode(relative)] = _UNKNOWN if recent else (stat.st_ino, stat.st_mtime_ns)
        prefix = f"{relative}/" if relative else ""
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    todo.append((prefix + entry.name, above | {identity}))
                    continue
                ending = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122
                if ending not in extensions:
                    others[ending or "no ending"] += 1
                elif entry.is_file():
                    names.append(os.fsencode(prefix + entry.name))
    if not names:
        raise DataError(_nothing(root, extensions, others))
    folders = sorted(stamps)
    packed, packed_folders = PackedNames.pack(sorted(names)), PackedNames.pack(folders)
    return [
        packed.data,
        packed.ends,
        packed_folders.data,
        packed_folders.ends,
        np.array([stamps[name] for name in folders], dtype=np.int64),
    ]


def _nothing(root: Path, extensions: frozenset[str], others: Counter[str]) -> str:
    wanted = ", ".join(sorted(extensions))
    if not others:
        found = "found no file at all"
    else:
        shown = ", ".join(f"{count} {ending}" for ending, count in others.most_common(8))
        files = "1 file" if others.total() == 1 else f"{others.total()} files"
        found = f"found {files}: {shown}"
    return f"{root}: no sample at any depth; looked for files that end in {wanted}; {found}"
