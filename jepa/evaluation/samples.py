"""The samples of a source as one candidate sees them, and samples whose labels are hidden."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import final

import attrs
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from jepa.core.data.loading import evaluation_batches, load
from jepa.core.data.order import Order
from jepa.core.data.source import Item, Measured, Source
from jepa.core.errors import ConfigError, DataError, Fault, one_of
from jepa.core.grid import Grid
from jepa.core.probing import Batch, Network, Pool, Samples
from jepa.evaluation.extraction import Extraction
from jepa.evaluation.features import KEPT_LAYERS

NetworkMaker = Callable[[Sequence[str]], Network]
"""`key=value` settings over the run's config -> a fresh copy of a network."""


@final
class CandidateSamples(Samples):
    """Samples of a source with the features of one candidate.

    Args:
        extraction: of the candidates' features.
        name: of the candidate.
        grid: of its tokens.
        make_network: for further training; None: there is no network.
        places: those of the extracted samples that count, [k] int64; None: all.
    """

    def __init__(
        self,
        extraction: Extraction,
        name: str,
        grid: Grid,
        make_network: NetworkMaker | None,
        places: Tensor | None = None,
    ) -> None:
        self._extraction, self.name = extraction, name
        self._grid, self._make_network, self._places = grid, make_network, places

    def __len__(self) -> int:
        return len(self._of(self._extraction.pooled().indices))

    @property
    def labels(self) -> Tensor:
        """Labels [n] int64."""
        labels = self._extraction.pooled().labels
        if labels is None:
            raise DataError("these samples have no labels")
        return self._of(labels)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._extraction.source.classes

    def quantity(self, name: str) -> Tensor:
        """A measured quantity: [n] float64."""
        source = self._extraction.source
        if not isinstance(source, Measured) or not source.quantities:
            raise DataError(f"asked for the quantity '{name}', but the source measures none")
        if name not in source.quantities:
            raise DataError(f"quantity of the samples: {one_of(name, source.quantities)}")
        found = torch.from_numpy(np.asarray(source.quantity(name), dtype=np.float64))
        return self._of(found[self._extraction.pooled().indices])

    @property
    def wholes(self) -> Tensor:
        """Which samples are parts of one: [n] int64."""
        return self._of(self._extraction.wholes)

    @property
    def groups(self) -> Tensor:
        """Which samples are held out together: [n] int64."""
        return self._of(self._extraction.groups)

    @property
    def grid(self) -> Grid:
        """The grid of the N tokens."""
        return self._grid

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        """Tokens of the last `layers` layers made one vector: [n, P] float32."""
        if not 1 <= layers <= KEPT_LAYERS:
            raise ConfigError(Fault("layers", f"found {layers}, allowed: 1 to {KEPT_LAYERS}"))
        kept = self._extraction.pooled()
        parts = [kept.layers, kept.deviations] if pool == "mean_std" else [kept.layers]
        found = [rearrange(p[self.name][:, -layers:], "n L P -> n (L P)") for p in parts]
        return self._of(torch.cat(found, dim=1))

    def tokens(self) -> Tensor:
        """Features of every token: [n, N, D] float16, in a file."""
        tokens = self._extraction.tokens(self.name)
        return tokens if self._places is None else tokens[self._places]

    def take(self, places: Tensor) -> CandidateSamples:
        """The samples at `places` [k] int64."""
        chosen = places if self._places is None else self._places[places]
        return CandidateSamples(self._extraction, self.name, self._grid, self._make_network, chosen)

    def network(self, settings: Sequence[str] = ()) -> Network | None:
        """A fresh copy to train further, or None for raw samples."""
        return None if self._make_network is None else self._make_network(settings)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All samples in order, under the evaluation transform."""
        source, modality = self._extraction.source, self._extraction.modality
        for found in evaluation_batches(source, modality, batch_size, 0, self._indices()):
            yield Batch(found.inputs, found.labels)

    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches under the training transform."""
        source = Subset(self._extraction.source, self._indices())
        size = min(batch_size, len(source))
        order = Order(seed, len(source), size)
        found = load(
            source, self._extraction.modality, seed=seed, global_batch=size, start=0, count=size,
            first_step=0, last_step=steps, workers=0, prefetch=1, pin_memory=False,
        )  # fmt: skip
        labels = self.labels
        for loaded in found:
            stands_in = {bad.index: bad.replaced_by for bad in loaded.bad}
            places = [
                stands_in.get(i, i) for i in order.work(loaded.step, 0, size).indices.tolist()
            ]
            yield Batch(loaded.inputs, labels[places])

    def _indices(self) -> np.ndarray:
        indices: np.ndarray = self._of(self._extraction.pooled().indices).numpy()
        return indices

    def _of(self, everyone: Tensor) -> Tensor:
        return everyone if self._places is None else everyone[self._places]


@final
class Blind(Samples):
    """Test samples as a protocol sees them: all but what it has to predict."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @property
    def labels(self) -> Tensor:
        """Hidden.

        Raises:
            DataError: always.
        """
        raise DataError("the labels of test samples are hidden from protocols")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._samples.classes

    def quantity(self, name: str) -> Tensor:
        """Hidden.

        Raises:
            DataError: always.
        """
        raise DataError("the quantities of test samples are hidden from protocols")

    @property
    def wholes(self) -> Tensor:
        """Hidden, for their numbers may tell something.

        Raises:
            DataError: always.
        """
        raise DataError("the wholes of test samples are hidden from protocols; `decide` knows them")

    @property
    def groups(self) -> Tensor:
        """Hidden.

        Raises:
            DataError: always.
        """
        raise DataError("the groups of test samples are hidden from protocols")

    def decide(self, probabilities: Tensor) -> Tensor:
        """The class of each sample, by the mean over its whole: [n, C] -> [n]."""
        return self._samples.decide(probabilities)

    @property
    def grid(self) -> Grid:
        """The grid of the N tokens."""
        return self._samples.grid

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        """Tokens made one vector: [n, P] float32."""
        return self._samples.pooled(layers, pool)

    def tokens(self) -> Tensor:
        """Features of every token: [n, N, D]."""
        return self._samples.tokens()

    def take(self, places: Tensor) -> Blind:
        """The samples at `places`, as blind."""
        return Blind(self._samples.take(places))

    def network(self, settings: Sequence[str] = ()) -> Network | None:
        """A fresh copy of the network."""
        return self._samples.network(settings)

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All samples in order, without labels."""
        for batch in self._samples.batches(batch_size):
            yield batch._replace(labels=None)

    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches, without labels."""
        for batch in self._samples.training_batches(batch_size, steps, seed):
            yield batch._replace(labels=None)


@final
class Subset(Source):
    """Chosen samples of another source."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(self, source: Source, indices: np.ndarray) -> None:
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def item(self, index: int) -> Item:
        """The raw sample at `index` of the subset."""
        return self._source.item(int(self._indices[index]))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._source.classes

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None."""
        return self._chosen(self._source.labels())

    def wholes(self) -> np.ndarray | None:
        """Which samples are parts of one: [n] int64, or None."""
        return self._chosen(self._source.wholes())

    def groups(self) -> np.ndarray | None:
        """Which samples are of one origin: [n] int64, or None."""
        return self._chosen(self._source.groups())

    def _chosen(self, numbers: np.ndarray | None) -> np.ndarray | None:
        return None if numbers is None else numbers[self._indices]

    def fingerprint(self) -> str:
        """A digest of the whole source and of the choice."""
        chosen = np.ascontiguousarray(self._indices, dtype="<i8").tobytes()
        return f"{self._source.fingerprint()}-{hashlib.sha256(chosen).hexdigest()[:12]}"
