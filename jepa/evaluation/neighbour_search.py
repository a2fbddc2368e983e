"""Which samples of a source a network finds most alike to a query."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from jepa.core.data.loading import LeftOut
from jepa.core.data.source import Source, wholes_of
from jepa.core.errors import ConfigError, DataError, DecodeError
from jepa.core.modality import Whole, whole
from jepa.core.neighbours import nearest
from jepa.core.rng import SampleRng, Stream
from jepa.evaluation.embedding import Embedder

_CHOICE_SEED = 0


@attrs.frozen(kw_only=True)
class Searched:
    """A source with the features of its samples.

    Args:
        source: that is searched.
        features: [n, P] float32, of the samples that could be decoded.
        indices: of them in the source, [n] int64 ascending.
        names: of them.
        labels: of all samples of the source, or None.
        wholes: of all samples of the source, [n] int64 (`Source.wholes`).
        bad: samples that could not be decoded.
    """

    source: Source
    features: Tensor
    indices: np.ndarray
    names: Sequence[str]
    labels: np.ndarray | None
    wholes: np.ndarray
    bad: Sequence[LeftOut] = ()

    def row(self, index: int) -> int:
        """The row of the sample at `index` of the source.

        Raises:
            DataError: it could not be decoded.
        """
        row = int(np.searchsorted(self.indices, index))
        if row == len(self.indices) or self.indices[row] != index:
            raise DataError(f"sample {index} cannot be decoded")
        return row

    def some_rows(self, count: int) -> list[int]:
        """At most `count` rows drawn at random, always the same."""
        n = len(self.indices)
        drawn = SampleRng(_CHOICE_SEED, 0, n, Stream.EVALUATION).uniforms(n)
        return [int(row) for row in np.argsort(drawn)[:count]]

    def label(self, row: int) -> int | None:
        """The label of a row's sample, if it has one."""
        return None if self.labels is None else int(self.labels[self.indices[row]])


@attrs.frozen(kw_only=True)
class Query:
    """What neighbours are sought of.

    Args:
        name: for people.
        features: [P].
        picture: its input [*S], as the loader gives it.
        label: in the classes of the searched source, if it is known.
        row: of the searched source, where it comes from there.
        file: that it is, or is a part of; None: no file of its own.
    """

    name: str
    features: Tensor
    picture: Tensor
    label: int | None = None
    row: int | None = None
    file: Path | None = None


@attrs.frozen(kw_only=True)
class Neighbour:
    """A row that is like a query: cosine similarity in [-1, 1]."""

    row: int
    similarity: float


def embed_source(
    embedder: Embedder, source: Source, workers: int, tell: Callable[[int], None]
) -> Searched:
    """Features of a whole source, in memory.

    Args:
        embedder: makes them.
        source: of samples.
        workers: processes that decode.
        tell: is told how many samples are done.

    Raises:
        DataError: not one sample can be decoded.
    """
    found, done = [], 0
    for rows in embedder.rows(source, workers):
        # A copy: the loader's tensors each hold a piece of shared memory.
        found.append(rows._replace(indices=rows.indices.copy()))
        done += len(rows.indices) + len(rows.bad)
        tell(done)
    names = [name for rows in found for name in rows.names]
    bad = [left_out for rows in found for left_out in rows.bad]
    if not names:
        raise DataError(
            f"none of {len(source)} samples can be decoded; the first, {bad[0].name}: "
            f"{bad[0].reason}"
        )
    return Searched(
        source=source,
        features=torch.from_numpy(np.concatenate([rows.features for rows in found])),
        indices=np.concatenate([rows.indices for rows in found]),
        names=names,
        labels=source.labels(),
        wholes=wholes_of(source),
        bad=bad,
    )


def read_features(path: Path, source: Source, recipe: dict[str, Any]) -> Searched:
    """The same from an .npz that `jepa embed` wrote.

    Args:
        path: of the file.
        source: that it is of.
        recipe: what the embedder would write; rounding (batch, dtype) may differ.

    Raises:
        DataError: it is no such file, or of another checkpoint, source or kind of features.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            features, indices, names = (file[key] for key in ("features", "indices", "names"))
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: no .npz of `jepa embed`: {error}") from error
    for key in ("checkpoint", "source", "samples", "layers", "row"):
        if about.get(key) != recipe[key]:
            raise DataError(f"{path}: its {key} is {about.get(key)}, wanted: {recipe[key]}")
    return Searched(
        source=source,
        features=torch.from_numpy(features.astype(np.float32)),
        indices=indices,
        names=list(map(str, names)),
        labels=source.labels(),
        wholes=wholes_of(source),
    )


def row_query(searched: Searched, embedder: Embedder, row: int) -> Query:
    """A sample of the searched source as query."""
    content = _whole(searched, row)
    return Query(
        name=searched.names[row],
        features=searched.features[row],
        picture=input_of(searched, embedder, row),
        label=searched.label(row),
        row=row,
        file=content if isinstance(content, Path) else None,
    )


def file_query(embedder: Embedder, file: Path) -> Query:
    """A file, or a folder that is one sample, as query; its class is not known.

    Raises:
        ConfigError: there is no such file or folder.
        DataError: it cannot be decoded.
    """
    if not file.exists():
        raise ConfigError(f"{file}: no such file or folder", "--query")
    try:
        picture = embedder.modality.eval_input(file)
    except (DecodeError, OSError) as error:
        raise DataError(f"{file}: cannot be decoded: {error}") from error
    features = torch.from_numpy(embedder.describe(picture[None]))[0]
    return Query(name=str(file), features=features, picture=picture, file=file)


def input_of(searched: Searched, embedder: Embedder, row: int) -> Tensor:
    """The input [*S] of a row's sample, as the loader gives it."""
    item = searched.source.item(int(searched.indices[row]))
    try:
        return embedder.modality.eval_input(item.content)
    except (DecodeError, OSError) as error:
        raise DataError(f"{item.name}: cannot be decoded any more: {error}") from error


def find_neighbours(
    searched: Searched, queries: Sequence[Query], k: int
) -> list[tuple[Neighbour, ...]]:
    """The k nearest of each query, the nearest first, without the query itself."""
    return [_nearest_others(searched, query, k) for query in queries]


def _nearest_others(searched: Searched, query: Query, k: int) -> tuple[Neighbour, ...]:
    # Each query by itself: products of several round by how many there are, on some CPUs.
    asked, wanted = query.features[None].float(), k
    while True:
        wanted *= 2  # a file may be many samples, and all of them are left out
        ((similarity, rows),) = nearest(searched.features, asked, wanted)
        others = [
            Neighbour(row=row, similarity=value)
            for row, value in zip(rows[0].tolist(), similarity[0].tolist(), strict=True)
            if not _is_itself(searched, query, row)
        ]
        if len(others) >= k or wanted >= len(searched.names):
            return tuple(others[:k])


def _is_itself(searched: Searched, query: Query, row: int) -> bool:
    if query.row is not None:
        one, other = searched.wholes[searched.indices[[query.row, row]]]
        if one == other:
            return True
    if query.file is None:
        return False
    content = _whole(searched, row)
    return isinstance(content, Path) and content.exists() and content.samefile(query.file)


def _whole(searched: Searched, row: int) -> Whole:
    return whole(searched.source.item(int(searched.indices[row])).content)
