"""Samples in tar files, at random access."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, final

import attrs
import numpy as np

from jepa.core.data import mapped
from jepa.core.data.listing import cache_file, require_root, split_folder
from jepa.core.data.mapped import MappedArrays, PackedNames
from jepa.core.data.source import Item, Place, Source
from jepa.core.errors import DataError, DecodeError

_VERSION = "shards 1"
_COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tar.lz4")
_OPEN_FILES = 64
_NO_LABEL = -1


@final
class Shards(Source):
    """Members of tar files (`data.root`: one .tar, or a folder of them; split: a sub-folder).

    Samples are the members with one of the modality's endings, tar after tar in the order of the
    names' bytes, members in the order of the tar. A text file `NAME.cls` beside `NAME.jpg` is its
    label (the WebDataset convention; a whole number). Items hold a member's bytes.

    An index of names, offsets and sizes is built once, in one pass over the tars' headers, and
    renewed when a tar's size or modification time changes.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """What the tars cannot say."""

        classes: tuple[str, ...] = ()
        """Names of the classes by label; empty: the labels' numbers."""

    def __init__(self, config: Config, place: Place) -> None:
        self._folder, tars = _find_tars(place)
        path = cache_file(place, _VERSION, require_root(place) / (place.split or ""))
        index = mapped.load(path)
        if index is None or not _is_fresh(self._folder, tars, index):
            index = mapped.save(path, _build(self._folder, tars, place.extensions))
        self._index: MappedArrays = index
        self._files = _OpenFiles()
        labels = self.labels()
        count = 0 if labels is None else int(labels.max()) + 1
        if config.classes and len(config.classes) < count:
            raise DataError(
                f"{self._folder}: data.source.classes names {len(config.classes)} classes, but "
                f"the labels reach {count - 1}"
            )
        self._classes = config.classes if count else ()
        if count and not config.classes:
            self._classes = tuple(map(str, range(count)))

    @property
    def _names(self) -> PackedNames:
        return PackedNames(*self._index.arrays[0:2])

    @property
    def _tars(self) -> PackedNames:
        return PackedNames(*self._index.arrays[2:4])

    @property
    def _spans(self) -> np.ndarray:
        """[n, 4] int64: the number of the tar, offset, size, label (or -1)."""
        return self._index.arrays[5]

    def __len__(self) -> int:
        return len(self._names)

    def item(self, index: int) -> Item:
        """The member at `index`, read whole."""
        tar, offset, size, label = map(int, self._spans[index])
        shard = os.fsdecode(self._tars[tar])
        name = f"{shard}:{os.fsdecode(self._names[index])}"
        try:
            content = os.pread(self._files.descriptor(self._folder / shard), size, offset)
        except OSError as error:
            raise DecodeError(f"{name}: {error.strerror}") from error
        if len(content) < size:
            raise DecodeError(f"{name}: the tar ends after {len(content)} of {size} bytes")
        return Item(content, name, None if label == _NO_LABEL else label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty where the tars hold no labels."""
        return self._classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None."""
        labels = np.array(self._spans[:, 3])
        return None if labels[0] == _NO_LABEL else labels

    def fingerprint(self) -> str:
        """A digest of the names of the tars and of their samples, and of the labels."""
        digest = hashlib.blake2b(np.ascontiguousarray(self._spans[:, [0, 3]]).data, digest_size=8)
        digest.update((self._names.digest() + self._tars.digest()).encode())
        return digest.hexdigest()


class _OpenFiles:
    """Descriptors of the tars read last; each process opens its own."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, int] = OrderedDict()

    def descriptor(self, path: Path) -> int:
        if path not in self._open:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.popitem(last=False)[1])
            self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._open.move_to_end(path)
        return self._open[path]

    def __reduce__(self) -> tuple[Any, ...]:
        return _OpenFiles, ()

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def _find_tars(place: Place) -> tuple[Path, list[str]]:
    """The folder of the tars and their names, sorted by bytes."""
    root = require_root(place)
    if root.is_file():
        if place.split is not None:
            raise DataError(
                f"data.split '{place.split}': {root} is one tar, which has no splits; set "
                "data.root to the folder above"
            )
        folder, names = root.parent, [root.name]
    else:
        folder = split_folder(place)
        names = [p.name for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")]
    compressed = sorted(name for name in names if name.lower().endswith(_COMPRESSED))
    if compressed:
        raise DataError(
            f"{folder / compressed[0]}: a compressed tar gives no access to single samples "
            f"({len(compressed)} of them here); unpack it to a plain .tar first, for instance "
            f"`gunzip`, `unxz` or `zstd -d`"
        )
    tars = sorted((name for name in names if name.lower().endswith(".tar")), key=os.fsencode)
    if not tars:
        found = ", ".join(sorted(names)[:8]) or "no file"
        raise DataError(f"{root if root.is_file() else folder}: no .tar; found {found}")
    return folder, tars


def _stamps(folder: Path, tars: list[str]) -> np.ndarray:
    """Size and modification time of each tar: [tars, 2] int64."""
    stats = [(folder / name).stat() for name in tars]
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], dtype=np.int64)


def _is_fresh(folder: Path, tars: list[str], index: MappedArrays) -> bool:
    names = PackedNames(*index.arrays[2:4])
    return list(names) == [os.fsencode(name) for name in tars] and np.array_equal(
        index.arrays[4], _stamps(folder, tars)
    )


def _build(folder: Path, tars: list[str], extensions: frozenset[str]) -> list[np.ndarray]:
    """Arrays of the index: names (2), tars (2), stamps of the tars, spans [n, 4]."""
    stamps = _stamps(folder, tars)
    names: list[bytes] = []
    spans: list[tuple[int, int, int, int]] = []
    for number, tar in enumerate(tars):
        for member in _members(folder / tar, extensions):
            names.append(os.fsencode(member.name))
            spans.append((number, member.offset, member.size, member.label))
    if not names:
        wanted = ", ".join(sorted(extensions))
        raise DataError(f"{folder}: {len(tars)} tar files hold no member that ends in {wanted}")
    labelled = sum(span[3] != _NO_LABEL for span in spans)
    if 0 < labelled < len(spans):
        missing = next(i for i, span in enumerate(spans) if span[3] == _NO_LABEL)
        raise DataError(
            f"{folder / tars[spans[missing][0]]}: {labelled} of {len(spans)} samples have a label "
            f"(NAME.cls), but {os.fsdecode(names[missing])} has none"
        )
    packed = PackedNames.pack(names)
    packed_tars = PackedNames.pack([os.fsencode(name) for name in tars])
    return [
        packed.data,
        packed.ends,
        packed_tars.data,
        packed_tars.ends,
        stamps,
        np.array(spans, dtype=np.int64),
    ]


@attrs.frozen
class _Member:
    name: str
    offset: int
    size: int
    label: int


def _members(path: Path, extensions: frozenset[str]) -> list[_Member]:
    """The samples of one tar, in its order."""
    labels: dict[str, int] = {}
    found: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(path, mode="r:") as tar:
            for member in tar:
                ending = Path(member.name).suffix.lower()
                if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
                    continue
                if ending in extensions:
                    found.append(member)
                elif ending == ".cls":
                    labels[_key(member.name)] = _label(tar, member, path)
                # tarfile keeps every member it has seen.
                tar.members = []  # type: ignore[attr-defined]
    except (tarfile.TarError, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as an uncompressed tar ({error}); a compressed one must be "
            "unpacked to a plain .tar first"
        ) from error
    return [
        _Member(m.name, m.offset_data, m.size, labels.get(_key(m.name), _NO_LABEL)) for m in found
    ]


def _key(name: str) -> str:
    """What the files of one sample share: the path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> int:
    file = tar.extractfile(member)
    text = file.read(64).strip() if file is not None else b""
    if not text.isdigit():
        raise DataError(f"{path}:{member.name}: found {text!r}, allowed: a label, 0 or more")
    return int(text)
