"""Files of features: .npz, .npy with its companions, .parquet; written shard by shard."""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from jepa.core.data.source import Source
from jepa.core.errors import ConfigError, DataError
from jepa.core.files import fsync_dir
from jepa.evaluation.partial import Partial

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every member of an .npz: the same rows give the same bytes."""


@attrs.frozen(kw_only=True)
class Finished:
    """All rows of a source, on the disk.

    Args:
        partial: holds them.
        count: n rows.
        labels: of all samples of the source, or None.
        classes: names of the classes.
    """

    partial: Partial
    count: int
    labels: np.ndarray | None
    classes: tuple[str, ...]

    @classmethod
    def of(cls, partial: Partial, source: Source) -> Finished:
        """Count the rows.

        Raises:
            DataError: there is not one; then the folder of the rows goes.
        """
        count = sum(len(indices) for indices in partial.read("indices"))
        if count == 0:
            first = partial.bad()[0]
            partial.remove()
            raise DataError(
                f"none of {len(source)} samples can be decoded; the first, {first.name}: "
                f"{first.reason}"
            )
        return cls(partial=partial, count=count, labels=source.labels(), classes=source.classes)

    @property
    def about(self) -> str:
        """The recipe as JSON."""
        return json.dumps(dict(self.partial.recipe))

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, *row]."""
        return (self.count, *self.partial.recipe["row"])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the features."""
        dtype: np.dtype[Any] = np.dtype(self.partial.recipe["dtype"])
        return dtype

    def row_labels(self) -> Iterator[np.ndarray]:
        """Labels of the rows, shard by shard; there must be labels."""
        assert self.labels is not None
        for indices in self.partial.read("indices"):
            yield self.labels[indices]


def suffixes() -> tuple[str, ...]:
    """Endings of the files that can be written."""
    return tuple(_WRITERS)


def check_writable(suffix: str) -> None:
    """Refuse, before any work, a format whose library is missing.

    Raises:
        ConfigError: it is.
    """
    if suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError(
            ".parquet files are written by pyarrow, which is not installed; "
            "pip install 'anyjepa[parquet]', or end the name in .npz or .npy",
            "--output",
        )


def companions(output: Path) -> tuple[Path, ...]:
    """Files that may be written beside `output`."""
    endings = ["left_out.txt"]
    if output.suffix == ".npy":
        endings += ["names.txt", "labels.npy", "classes.txt"]
    return tuple(output.with_suffix(f".{ending}") for ending in endings)


def publish(finished: Finished, output: Path) -> None:
    """Write the file and its companions, and put each into its place when all are whole.

    Those of an earlier time go.
    """
    # Named by the process: two that finish at once never write into one file.
    folder = finished.partial.path / f"result-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    _WRITERS[output.suffix](finished, folder / output.name)
    bad = finished.partial.bad()
    if bad:
        lines = (f"{one_line(left_out.name)}\t{one_line(left_out.reason)}" for left_out in bad)
        _write_lines((folder / output.name).with_suffix(".left_out.txt"), lines)
    for path in folder.iterdir():
        _sync(path)
    # The file itself comes last: where it stands, its companions do.
    for place in (*companions(output), output):
        made = folder / place.name
        if made.exists():
            made.replace(place)
        else:
            place.unlink(missing_ok=True)
    fsync_dir(output.parent)


def one_line(name: str) -> str:
    """A name as one line of UTF-8: a backslash begins what can't stand there as it is."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return _utf8(escaped.replace("\t", "\\t"))


def _utf8(name: str) -> str:
    """A name whose bytes were no UTF-8 on the disk, with those bytes as backslash codes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _write_npz(finished: Finished, path: Path) -> None:
    """The arrays features, indices, names, labels and classes (where there are), about."""
    read, n = finished.partial.read, finished.count
    longest = max((part.dtype for part in read("names")), key=lambda dtype: dtype.itemsize)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, dtype: Any, shape: tuple[int, ...], parts: Iterable[np.ndarray]) -> None:
            info = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            with archive.open(info, "w", force_zip64=True) as member:
                _write_array(member, np.dtype(dtype), shape, parts)

        add("features", finished.dtype, finished.shape, read("features"))
        add("indices", np.int64, (n,), read("indices"))
        add("names", longest, (n,), read("names"))
        if finished.labels is not None:
            classes = np.array(finished.classes, dtype=np.str_)
            add("labels", np.int64, (n,), finished.row_labels())
            add("classes", classes.dtype, classes.shape, [classes])
        about = np.array(finished.about)
        add("about", about.dtype, (), [about])


def _write_npy(finished: Finished, path: Path) -> None:
    """The features; names, labels and classes (where there are) in files beside."""
    read = finished.partial.read
    with path.open("wb") as out:
        _write_array(out, finished.dtype, finished.shape, read("features"))
    names = (one_line(str(name)) for part in read("names") for name in part)
    _write_lines(path.with_suffix(".names.txt"), names)
    if finished.labels is not None:
        with path.with_suffix(".labels.npy").open("wb") as out:
            _write_array(out, np.dtype(np.int64), (finished.count,), finished.row_labels())
        _write_lines(path.with_suffix(".classes.txt"), map(one_line, finished.classes))


def _write_parquet(finished: Finished, path: Path) -> None:
    """A row a sample: name, index, label and class (where there are), feature in C order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells = int(np.prod(finished.shape[1:]))
    kind = pa.list_(pa.from_numpy_dtype(finished.dtype), cells)
    fields = [("name", pa.string()), ("index", pa.int64())]
    if finished.labels is not None:
        fields += [("label", pa.int64()), ("class", pa.string())]
    schema = pa.schema([*fields, ("feature", kind)], metadata={"jepa": finished.about})
    read = finished.partial.read
    with pq.ParquetWriter(path, schema, use_dictionary=["class"]) as writer:
        for names, indices, features in zip(
            read("names"), read("indices"), read("features"), strict=True
        ):
            columns: list[Any] = [[_utf8(str(name)) for name in names], indices]
            if finished.labels is not None:
                labels = finished.labels[indices]
                columns += [labels, [_utf8(finished.classes[label]) for label in labels]]
            flat = pa.array(features.reshape(-1))
            columns.append(pa.FixedSizeListArray.from_arrays(flat, type=kind))
            writer.write_table(pa.table(columns, schema=schema))


_WRITERS: dict[str, Callable[[Finished, Path], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".parquet": _write_parquet,
}


def _write_array(
    out: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...], parts: Iterable[np.ndarray]
) -> None:
    """An array in numpy's format, of parts along its first axis."""
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(out, header)
    for part in parts:
        out.write(part.astype(dtype, copy=False).tobytes())


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in lines)


def _sync(path: Path) -> None:
    with path.open("rb") as written:
        os.fsync(written.fileno())
