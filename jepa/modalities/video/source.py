"""The source `frame_folders`: samples that are folders with a picture a frame."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_left
from typing import final

import attrs
import numpy as np

from jepa.core.data.listing import FileList
from jepa.core.data.mapped import PackedNames
from jepa.core.data.source import Item, Place, Source
from jepa.modalities.video.still import STILLS


@final
class FrameFolders(Source):
    """Each folder below `data.root` (or its sub-folder `data.split`) that itself holds pictures.

    Where all of them stand below folders of their own, as in CLASS/CLIP/frame.jpg, the highest ones
    are the classes. Labels number these in the order of their names' bytes. Where a single clip
    stands higher, there are no labels.

    Items hold the folder's path and are named by it, relative to the root. See `FileList` for which
    files count, and when the cached list is renewed; `FolderFilm` for the order of frames.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, place: Place) -> None:
        self._files = FileList.of(attrs.evolve(place, extensions=STILLS))
        names, folders = self._files.names, self._files.folders
        clips = [(i, name) for i, name in enumerate(folders) if _holds_files(names, name)]
        self._clips = np.array([i for i, _ in clips], dtype=np.int32)
        deep = all(b"/" in name for _, name in clips)
        classes = sorted({name.partition(b"/")[0] for _, name in clips}) if deep else []
        self._classes = tuple(map(os.fsdecode, classes))
        numbers = {name: number for number, name in enumerate(classes)}
        self._labels: np.ndarray | None = None
        if classes:
            labels = [numbers[name.partition(b"/")[0]] for _, name in clips]
            self._labels = np.array(labels, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._clips)

    def item(self, index: int) -> Item:
        """The folder at `index`, with its label if it has one; it is not read here."""
        name = os.fsdecode(self._files.folders[int(self._clips[index])])
        label = None if self._labels is None else int(self._labels[index])
        return Item(self._files.folder / name, name or ".", label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders, sorted; empty where there are none."""
        return self._classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None."""
        return self._labels

    def fingerprint(self) -> str:
        """A digest of the relative paths of all frames, and the classes."""
        text = "\0".join([self._files.names.digest(), *self._classes])
        return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()


def _holds_files(names: PackedNames, folder: bytes) -> bool:
    """Whether a folder itself holds one of the files, whose paths are sorted."""
    prefix = folder + b"/" if folder else b""
    place = bisect_left(names, prefix)
    while place < len(names) and names[place].startswith(prefix):
        head, below, _ = names[place][len(prefix) :].partition(b"/")
        if not below:
            return True
        place = bisect_left(names, prefix + head + b"0", place)  # "0" follows "/"
    return False
