"""Samples in memory, for protocols."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from einops import rearrange, reduce
from torch import Tensor

from jepa.core.errors import DataError
from jepa.core.grid import Grid
from jepa.core.probing import Batch, Network, Pool, Samples


class ToySamples(Samples):
    """Given pooled features [n, P], or tokens [n, N, D] whose means they are.

    Args:
        features: [n, P], or [n, N, D] with `grid`.
        labels: [n] int64.
        classes: how many; None: as many as the labels show.
        grid: of the tokens; None: one token.
        quantities: [n] each, by name.
        wholes: [n] int64; None: each sample is one.
    """

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        classes: int | None = None,
        grid: Grid | None = None,
        quantities: Mapping[str, Tensor] | None = None,
        wholes: Tensor | None = None,
    ) -> None:
        if features.ndim == 2:
            features = rearrange(features, "n P -> n 1 P")
        self._tokens, self._labels = features, labels
        self._classes = int(labels.max()) + 1 if classes is None else classes
        self._grid = grid or Grid((1,), ("x",))
        assert self._grid.size == features.shape[1]
        self._quantities = dict(quantities or {})
        self._wholes = torch.arange(len(features)) if wholes is None else wholes

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def labels(self) -> Tensor:
        return self._labels

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(map(str, range(self._classes)))

    def quantity(self, name: str) -> Tensor:
        if name not in self._quantities:
            raise DataError(f"no quantity {name}")
        return self._quantities[name]

    @property
    def wholes(self) -> Tensor:
        return self._wholes

    @property
    def grid(self) -> Grid:
        return self._grid

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        tokens = self._tokens.float()
        mean = reduce(tokens, "n N D -> n D", "mean")
        return mean if pool == "mean" else torch.cat([mean, tokens.std(1, correction=0)], 1)

    def tokens(self) -> Tensor:
        return self._tokens

    def take(self, places: Tensor) -> ToySamples:
        quantities = {name: values[places] for name, values in self._quantities.items()}
        return ToySamples(
            self._tokens[places],
            self._labels[places],
            self._classes,
            self._grid,
            quantities,
            self._wholes[places],
        )

    def network(self, settings: Sequence[str] = ()) -> Network | None:
        return None

    def batches(self, batch_size: int) -> Iterator[Batch]:
        raise NotImplementedError("there are no inputs behind toy features")

    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        raise NotImplementedError("there are no inputs behind toy features")


def blobs(n: int, seed: int, classes: int = 5, spread: float = 1.5, width: int = 16) -> ToySamples:
    """Normal clouds around fixed centres, one a class."""
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(0))
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=rng)
    return ToySamples(
        centres[labels] + spread * torch.randn(n, width, generator=rng), labels, classes
    )


def shuffled(samples: ToySamples) -> ToySamples:
    """The same features with labels that say nothing."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(3))
    return ToySamples(samples.tokens(), samples.labels[order], len(samples.classes), samples.grid)
