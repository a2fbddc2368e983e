"""Rows of features on the disk while they are made: what a later process goes on from."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
from pathlib import Path
from typing import Any, final

import attrs
import numpy as np

from jepa.core.data.loading import LeftOut
from jepa.core.errors import DataError
from jepa.core.files import write_atomic
from jepa.evaluation.embedding import Rows

_RECIPE = "recipe.json"
_OURS = (_RECIPE, f".{_RECIPE}.", "shard-", ".shard-", "result-")
"""How the names in the folder begin."""


def partial_folder(output: Path) -> Path:
    """Where the rows for a file are kept while they are made."""
    return output.with_name(f"{output.name}.partial")


@final
class Shard:
    """Rows in memory, in one array, until there are enough to write.

    Args:
        recipe: of the rows.
    """

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self._capacity: int = recipe["shard"]
        self._features = np.empty((self._capacity, *recipe["row"]), dtype=recipe["dtype"])
        self._indices = np.empty(self._capacity, dtype=np.int64)
        self.clear()

    def clear(self) -> None:
        """Forget the rows."""
        self.names: list[str] = []
        self.bad: list[LeftOut] = []

    def add(self, rows: Rows) -> None:
        """Take the rows of a batch."""
        first, end = len(self.names), len(self.names) + len(rows.names)
        self._features[first:end] = rows.features
        self._indices[first:end] = rows.indices
        self.names += rows.names
        self.bad += rows.bad

    @property
    def features(self) -> np.ndarray:
        """[n, *row]."""
        return self._features[: len(self.names)]

    @property
    def indices(self) -> np.ndarray:
        """[n] int64, in the source."""
        return self._indices[: len(self.names)]

    @property
    def full(self) -> bool:
        """Whether as many samples have been dealt with as a shard is about."""
        return len(self.names) + len(self.bad) >= self._capacity


@final
@attrs.frozen
class Partial:
    """A folder of shards, each with the rows of `recipe["shard"]` samples in their order.

    A shard is written whole or not at all, so the shards that are there are what is done.
    """

    path: Path
    recipe: Mapping[str, Any]

    @classmethod
    def beside(cls, output: Path, recipe: Mapping[str, Any], overwrite: bool) -> Partial:
        """The folder `OUTPUT.partial`, made where it is missing.

        Args:
            output: file that the rows are for.
            recipe: of the rows.
            overwrite: throw away the rows of another recipe.

        Raises:
            DataError: it holds rows of another recipe, or something else.
        """
        partial = cls(partial_folder(output), recipe)
        if partial.path.exists():
            partial._check_ours()
            differences = partial._differences()
            if differences and not overwrite:
                raise DataError(
                    f"{partial.path} holds features of another command: {'; '.join(differences)}. "
                    "Repeat that command to go on with it, or add --overwrite to begin anew"
                )
            if differences or not (partial.path / _RECIPE).exists():
                partial.remove()
        partial.path.mkdir(parents=True, exist_ok=True)
        write_atomic(partial.path / _RECIPE, json.dumps(dict(recipe), indent=1) + "\n")
        return partial

    def _check_ours(self) -> None:
        """Refuse a folder that holds anything else: it may have to be removed."""
        names = [path.name for path in self.path.iterdir()] if self.path.is_dir() else [""]
        strange = [name for name in names if not name.startswith(_OURS)]
        if strange:
            raise DataError(
                f"{self.path / strange[0]} is in the place where features are kept until they are "
                "whole; move it away"
            )

    def _differences(self) -> list[str]:
        """What sets the rows in the folder apart from those of the recipe."""
        try:
            found = json.loads((self.path / _RECIPE).read_bytes())
            names = [*self.recipe, *(found.keys() - self.recipe.keys())]
        except FileNotFoundError:  # killed as it began, or as it was removed
            return []
        except (OSError, ValueError, AttributeError) as error:
            return [f"{_RECIPE} cannot be read: {error}"]
        return [
            f"{name}: found {found.get(name)}, now {self.recipe.get(name)}"
            for name in names
            if found.get(name) != self.recipe.get(name)
        ]

    @property
    def samples_done(self) -> int:
        """How many samples, from the first on, have been dealt with."""
        done: int = min(len(self._shards()) * self.recipe["shard"], self.recipe["samples"])
        return done

    def add(self, shard: Shard) -> None:
        """Write the next shard."""
        out = io.BytesIO()
        np.savez(
            out,
            features=shard.features,
            indices=shard.indices,
            names=np.array(shard.names, dtype=np.str_),
            bad=np.array(json.dumps([attrs.asdict(left_out) for left_out in shard.bad])),
        )
        write_atomic(self.path / f"shard-{len(self._shards()):06d}.npz", out.getvalue())

    def read(self, name: str) -> Iterator[np.ndarray]:
        """One of the arrays `features`, `indices` and `names`, shard by shard."""
        for path in self._shards():
            try:
                with np.load(path, allow_pickle=False) as shard:
                    yield shard[name]
            except (ValueError, KeyError, zipfile.BadZipFile) as error:
                raise DataError(f"{path} is damaged ({error}); remove {self.path}") from error

    def bad(self) -> list[LeftOut]:
        """Every sample that could not be decoded."""
        return [LeftOut(**told) for text in self.read("bad") for told in json.loads(str(text))]

    def remove(self) -> None:
        """Remove the folder. Its recipe goes first: without it, nothing here counts."""
        (self.path / _RECIPE).unlink(missing_ok=True)
        shutil.rmtree(self.path)

    def _shards(self) -> list[Path]:
        """The shards from the first on, without a gap."""
        numbered = (self.path / f"shard-{number:06d}.npz" for number in count())
        return list(takewhile(Path.exists, numbered))
