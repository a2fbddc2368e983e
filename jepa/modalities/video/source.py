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
        files = FileList.of(attrs.evolve(place, extensions=STILLS))
        self._folder = files.folder
        self._digest = files.names.digest()
        self._clips = [name for name in files.folders if _holds_files(files.names, name)]
        deep = all(b"/" in name for name in self._clips)
        classes = sorted({name.partition(b"/")[0] for name in self._clips}) if deep else []
        self._classes = tuple(map(os.fsdecode, classes))
        numbers = {name: number for number, name in enumerate(classes)}
        self._labels = [numbers.get(name.partition(b"/")[0]) for name in self._clips]

    def __len__(self) -> int:
        return len(self._clips)

    def item(self, index: int) -> Item:
        """The folder at `index`, with its label if it has one; it is not read here."""
        name = os.fsdecode(self._clips[index])
        return Item(self._folder / name, name or ".", self._labels[index])

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the class folders, sorted; empty where there are none."""
        return self._classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None."""
        return np.array(self._labels, dtype=np.int64) if self._classes else None

    def fingerprint(self) -> str:
        """A digest of the relative paths of all frames, and the classes."""
        text = "\0".join([self._digest, *self._classes])
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
