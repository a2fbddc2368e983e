"""Samples that are files in folders: without labels, or with a folder a class."""

from __future__ import annotations

import hashlib
import os
import re
from bisect import bisect_left
from typing import final

import attrs
import numpy as np

from jepa.core.data.listing import FileList
from jepa.core.data.source import Item, Place, Source
from jepa.core.errors import DataError
from jepa.core.validators import check


def _is_pattern(text: str | None) -> bool:
    try:
        return text is None or re.compile(text).groups == 1
    except re.error:
        return False


_pattern = check("a regular expression with one group in parentheses", _is_pattern)


@final
class Folder(Source):
    """Files at any depth below `data.root` (or its sub-folder `data.split`), without labels.

    Items hold the file's path and are named by it, relative to the folder. See `FileList` for
    which files count, their order, and when the cached list is renewed.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, place: Place) -> None:
        self._files = FileList.of(place)

    def __len__(self) -> int:
        return len(self._files.names)

    def item(self, index: int) -> Item:
        """The file at `index`; it is not opened here."""
        name = os.fsdecode(self._files.names[index])
        return Item(self._files.folder / name, name)

    @property
    def classes(self) -> tuple[str, ...]:
        """No classes."""
        return ()

    def labels(self) -> np.ndarray | None:
        """No labels."""
        return None

    def fingerprint(self) -> str:
        """A digest of the relative paths."""
        return self._files.names.digest()


@final
class ClassFolders(Source):
    """One folder a class below `data.root` (or its sub-folder `data.split`), as ImageNet has it.

    Labels number the class folders in the order of their names' bytes; files stand at any depth
    below their class. Files beside the class folders belong to no class and are passed over.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """What samples have in common besides their class."""

        groups: str | None = attrs.field(default=None, validator=_pattern)
        """A regular expression; files in whose relative path its group matches the same text are of
        one origin, such as a speaker. `^[^/]+/([a-z]+)_` is for CLASS/ann_1.wav."""

    def __init__(self, config: Config, place: Place) -> None:
        self._files, self._groups = FileList.of(place), config.groups
        classes = [name for name in self._files.folders if name and b"/" not in name]
        if not classes:
            raise DataError(
                f"{self._files.folder}: {len(self._files.names)} samples, but no folder a class; "
                "the source 'folder' reads files without labels"
            )
        self._classes = tuple(map(os.fsdecode, classes))
        # Paths are sorted, so the files of a class stand together.
        names = self._files.names
        first = np.array([bisect_left(names, name + b"/") for name in classes])
        behind = np.array([bisect_left(names, name + b"0") for name in classes])  # "0" follows "/"
        empty = [name for name, a, b in zip(self._classes, first, behind, strict=True) if a == b]
        if empty:
            raise DataError(
                f"{self._files.folder}: {len(empty)} class folders hold no sample: "
                f"{', '.join(empty[:10])}"
            )
        # "a-b/" sorts before "a/", but the class "a" before "a-b".
        self._order = np.argsort(first)
        self._first = first[self._order]
        self._ends = np.cumsum((behind - first)[self._order])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def item(self, index: int) -> Item:
        """The file at `index` with its label; it is not opened here."""
        run, name = self._found(index)
        return Item(self._files.folder / name, name, int(self._order[run]))

    def groups(self) -> np.ndarray | None:
        """What the expression finds in each path, numbered: [n] int64; or None.

        Raises:
            DataError: it finds nothing in a path.
        """
        if self._groups is None:
            return None
        pattern, texts = re.compile(self._groups), []
        for index in range(len(self)):
            _, name = self._found(index)
            found = pattern.search(name)
            if found is None or found[1] is None:
                raise DataError(
                    f"{self._files.folder}: groups: '{self._groups}' finds nothing in '{name}'"
                )
            texts.append(found[1])
        numbers: np.ndarray = np.unique(texts, return_inverse=True)[1]
        return numbers.astype(np.int64)

    def _found(self, index: int) -> tuple[int, str]:
        """The class folder's place among the sorted, and the path of the file at `index`."""
        run = int(np.searchsorted(self._ends, index, side="right"))
        offset = index - (int(self._ends[run - 1]) if run else 0)
        return run, os.fsdecode(self._files.names[int(self._first[run]) + offset])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders, sorted."""
        return self._classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64."""
        return np.repeat(self._order, np.diff(self._ends, prepend=0)).astype(np.int64)

    def fingerprint(self) -> str:
        """A digest of the relative paths and the classes."""
        text = "\0".join([self._files.names.digest(), *self._classes])
        return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()
