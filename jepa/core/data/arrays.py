"""Samples in arrays: .npz, .npy and idx files."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import attrs
import numpy as np

from jepa.core.data.listing import require_root
from jepa.core.data.source import Item, Place, Source
from jepa.core.errors import DataError, did_you_mean

_HASHED_SAMPLES = 256
_IDX_TYPES = {
    0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8",
}  # fmt: skip


class LabelledArrays(NamedTuple):
    """`samples` [n, ...], `labels` [n] int64 or None, names of the classes (may be empty),
    `groups` [n] int64 or None."""

    samples: np.ndarray
    labels: np.ndarray | None
    classes: tuple[str, ...]
    groups: np.ndarray | None = None


@final
class Arrays(Source):
    """Samples in one array [n, ...] of integers or floats, in memory or mapped.

    `data.root` is one of
      - an .npz with the arrays `x`, `y`, `groups` and `classes`; with `data.split` they are
        `{split}_x`, `{split}_y` and `{split}_groups`,
      - an .npy: samples without labels, memory-mapped,
      - an idx file of samples (the format of MNIST; may be .gz); the labels stand in the file
        whose name has `labels` and `idx1` for `images` and `idx3`,
      - a folder of idx files; `data.split` picks `train` or `test` (`t10k`).
    Nothing pickled is read. Which types of numbers can be samples is for the modality to say.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Names of the arrays in an .npz."""

        samples: str = "x"
        labels: str = "y"
        """May be absent from the file."""
        classes: str = "classes"
        """May be absent from the file; then the classes are numbers."""
        groups: str = "groups"
        """May be absent: [n] numbers or texts, equal for samples of one origin (a person, say)."""

    def __init__(self, config: Config, place: Place) -> None:
        self._config, self._place = config, place
        self._path = require_root(place)
        self._data = _checked(_read(self._path, place.split, config), self._path)

    def __reduce__(self) -> tuple[Any, ...]:
        return Arrays, (self._config, self._place)

    def __len__(self) -> int:
        return len(self._data.samples)

    def item(self, index: int) -> Item:
        """The array of one sample."""
        labels = self._data.labels
        label = None if labels is None else int(labels[index])
        return Item(self._data.samples[index], f"{self._path.name}[{index}]", label)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes; empty without labels."""
        return self._data.classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None."""
        return self._data.labels

    def groups(self) -> np.ndarray | None:
        """Which samples are of one origin: [n] int64, or None."""
        return self._data.groups

    def fingerprint(self) -> str:
        """A digest of the shape, the labels and some samples spread over the array."""
        samples, labels = self._data.samples, self._data.labels
        digest = hashlib.blake2b(f"{samples.shape} {samples.dtype}".encode(), digest_size=8)
        stride = max(1, len(samples) // _HASHED_SAMPLES)
        digest.update(np.ascontiguousarray(samples[::stride]).data)
        if labels is not None:
            digest.update(labels.data)
        return digest.hexdigest()


def _read(path: Path, split: str | None, config: Arrays.Config) -> LabelledArrays:
    if path.is_dir():
        return _read_idx(_idx_file(path, split))
    if path.suffix == ".npz":
        return _read_npz(path, split, config)
    if split is not None:
        raise DataError(f"data.split '{split}': {path} holds one array, which has no splits")
    if path.suffix == ".npy":
        return LabelledArrays(_load(path, np.ndarray, mmap_mode="r"), None, ())
    if "idx" in path.name:
        return _read_idx(path)
    raise DataError(
        f"{path}: allowed: an .npz, an .npy, an idx file (such as train-images-idx3-ubyte.gz), or "
        "a folder of idx files"
    )


def _load(path: Path, kind: type[Any], mmap_mode: Literal["r"] | None = None) -> Any:
    """What numpy reads from a file, if it is of the kind that the file's ending promises."""
    try:
        found = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, kind):
        raise DataError(f"{path}: its content is not what the ending {path.suffix} promises")
    return found


def _read_npz(path: Path, split: str | None, config: Arrays.Config) -> LabelledArrays:
    prefix = f"{split}_" if split is not None else ""
    try:
        with _load(path, np.lib.npyio.NpzFile) as file:
            names = list(file.files)
            wanted = prefix + config.samples
            if wanted not in names:
                raise DataError(
                    f"{path}: no array '{wanted}'; it holds: {', '.join(names)}"
                    f"{did_you_mean(wanted, names)} (data.split and data.source set the name)"
                )
            labels, groups = prefix + config.labels, prefix + config.groups
            return LabelledArrays(
                file[wanted],
                file[labels] if labels in names else None,
                tuple(map(str, file[config.classes])) if config.classes in names else (),
                file[groups] if groups in names else None,
            )
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _idx_file(folder: Path, split: str | None) -> Path:
    """The idx file of samples that a folder holds for a split."""
    found = sorted(p for p in folder.iterdir() if "idx" in p.name and "images" in p.name)
    starts = ("t10k", "test") if split == "test" else (split or "",)
    chosen = [p for p in found if p.name.startswith(starts)]
    if len(chosen) != 1:
        names = ", ".join(p.name for p in found) or "none"
        raise DataError(
            f"{folder}: wanted one idx file of images for data.split '{split}'; found: {names} "
            "(splits of MNIST's files: train, test)"
        )
    return chosen[0]


def _read_idx(path: Path) -> LabelledArrays:
    beside = path.with_name(
        path.name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1")
    )
    labels = _idx_array(beside) if beside != path and beside.is_file() else None
    return LabelledArrays(_idx_array(path), labels, ())


def _idx_array(path: Path) -> np.ndarray:
    """An idx file: two zero bytes, type, number of axes, big-endian sizes, then the values."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        raise DataError(f"{path}: no idx file: it starts with {raw[:4]!r}")
    header = 4 + 4 * raw[3]
    if len(raw) < header:
        raise DataError(f"{path}: found {len(raw)} bytes, its header alone takes {header}")
    shape = tuple(np.frombuffer(raw[4:header], dtype=">u4").astype(int))
    dtype = np.dtype(_IDX_TYPES[raw[2]])
    expected = header + int(np.prod(shape)) * dtype.itemsize
    if len(raw) != expected:
        raise DataError(f"{path}: found {len(raw)} bytes, its header announces {expected}")
    values = np.frombuffer(raw, dtype=dtype, offset=header).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def _checked(data: LabelledArrays, path: Path) -> LabelledArrays:
    """The same, with labels as int64 and a name for each class, or an error."""
    samples, labels, classes, groups = data
    if samples.ndim < 2 or len(samples) == 0:
        raise DataError(f"{path}: found samples of shape {samples.shape}, allowed: [n > 0, ...]")
    if samples.dtype.kind not in "iuf":
        raise DataError(f"{path}: found samples of {samples.dtype}, allowed: integers, floats")
    if groups is not None:
        if groups.shape != (len(samples),) or groups.dtype.kind not in "iuU":
            raise DataError(
                f"{path}: found groups of {groups.dtype} and shape {groups.shape}, allowed: whole "
                f"numbers or texts [{len(samples)}]"
            )
        groups = np.unique(groups, return_inverse=True)[1].astype(np.int64)
    if labels is None:
        return LabelledArrays(samples, None, (), groups)
    if labels.shape != (len(samples),) or labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: found labels of {labels.dtype} and shape {labels.shape}, allowed: whole "
            f"numbers [{len(samples)}]"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (classes and high >= len(classes)):
        allowed = f"0 to {len(classes) - 1}" if classes else "0 or more"
        raise DataError(f"{path}: found labels from {low} to {high}, allowed: {allowed}")
    names = classes or tuple(map(str, range(high + 1)))
    return LabelledArrays(samples, np.ascontiguousarray(labels, dtype=np.int64), names, groups)
