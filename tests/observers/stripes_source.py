"""Labelled samples for observers."""

import numpy as np

from jepa.core.data.source import Item, Source


class Stripes(Source):
    """Horizontal and vertical stripes with noise: two classes that any features tell apart."""

    Config = type(None)

    def __init__(self, number: int = 40, labelled: bool = True, seed: int = 0) -> None:
        draw = np.random.default_rng(seed)
        lines = np.tile(np.array([0, 200], dtype=np.uint8), (8, 4))
        self._labels = np.arange(number) % 2
        self._samples = [
            (lines.T if label else lines) + draw.integers(0, 50, (8, 8), dtype=np.uint8)
            for label in self._labels
        ]
        self._labelled = labelled

    def __len__(self):
        return len(self._samples)

    def item(self, index):
        label = int(self._labels[index]) if self._labelled else None
        return Item(self._samples[index][None], str(index), label)

    @property
    def classes(self):
        return ("down", "across") if self._labelled else ()

    def labels(self):
        return self._labels if self._labelled else None

    def fingerprint(self):
        return "stripes"
