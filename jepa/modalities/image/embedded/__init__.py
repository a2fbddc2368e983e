"""Real images inside the package: a balanced subset of Fashion-MNIST (MIT, see LICENSE-MIT.txt)."""

from __future__ import annotations

from pathlib import Path
from typing import final

import attrs
import numpy as np

from jepa.core.data.arrays import Arrays
from jepa.core.data.source import Item, Place, Source
from jepa.core.errors import DataError, one_of

_FILE = Path(__file__).with_name("fashion_mnist_10k.npz")
_SPLITS = ("train", "test")


@final
class FashionMnist(Source):
    """8000 train and 2000 test images of clothes, 28 x 28 grey, 10 classes.

    The first 800 and 200 of each class of Fashion-MNIST (Xiao, Rasul, Vollgraf 2017,
    arXiv 1708.07747). `data.split` is `train` (the default) or `test`.
    """

    takes_root = False

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, place: Place) -> None:
        split = place.split or "train"
        if split not in _SPLITS:
            raise DataError(f"data.split of fashion_mnist: {one_of(split, _SPLITS)}")
        self._split = split
        self._arrays = Arrays(Arrays.Config(), attrs.evolve(place, root=_FILE, split=split))

    def __len__(self) -> int:
        return len(self._arrays)

    def item(self, index: int) -> Item:
        """One image: uint8 [28, 28]."""
        return attrs.evolve(self._arrays.item(index), name=f"fashion_mnist/{self._split}/{index}")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the ten classes."""
        return self._arrays.classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64."""
        return self._arrays.labels()

    def fingerprint(self) -> str:
        """A digest of the images and labels."""
        return self._arrays.fingerprint()
