"""Labelled samples in memory with a small network behind them, for protocols."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor, nn

from jepa.core.build import make_backbone, make_modality
from jepa.core.errors import DataError
from jepa.core.grid import Grid
from jepa.core.model import Backbone
from jepa.core.probing import Batch, Network, Pool, Samples, decide
from jepa.core.rng import permutation
from jepa.testing.toys import CLASSES, mean_tokens, toy_config, toy_inputs

QUANTITY = "slope"
"""The one quantity that toy samples have: -1 or 1, as the class."""


@final
class ToySamples(Samples):
    """Inputs [n, 2, 16] whose class is whether they rise, seen by an untrained network.

    Args:
        inputs: [n, 2, 16].
        labels: [n] int64.
        asked: gets the name of whatever is asked for and hidden; None: nothing is hidden.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, asked: list[str] | None = None) -> None:
        self.inputs, self.hidden = inputs, labels
        self._asked = asked

    def __len__(self) -> int:
        return len(self.inputs)

    def _refuse(self, what: str) -> None:
        if self._asked is not None:
            self._asked.append(what)
            raise DataError(f"the {what} of test samples are hidden from protocols")

    @property
    def labels(self) -> Tensor:
        """Labels [n] int64.

        Raises:
            DataError: these samples are to be predicted.
        """
        self._refuse("labels")
        return self.hidden

    @property
    def classes(self) -> tuple[str, ...]:
        """`falls` and `rises`."""
        return CLASSES

    def quantity(self, name: str) -> Tensor:
        """`slope`: [n] float64.

        Raises:
            DataError: another is asked for, or these samples are to be predicted.
        """
        if name != QUANTITY:
            raise DataError(f"quantity: found '{name}', allowed: {QUANTITY}")
        self._refuse("quantities")
        return 2.0 * self.hidden.double() - 1

    @property
    def wholes(self) -> Tensor:
        """Each sample is one: [n] int64.

        Raises:
            DataError: these samples are to be predicted.
        """
        self._refuse("wholes")
        return torch.arange(len(self))

    @property
    def groups(self) -> Tensor:
        """Each sample is one: [n] int64.

        Raises:
            DataError: these samples are to be predicted.
        """
        self._refuse("groups")
        return torch.arange(len(self))

    def decide(self, probabilities: Tensor) -> Tensor:
        """The likeliest class of each sample: [n, C] -> [n]."""
        return decide(probabilities, torch.arange(len(self)))

    @property
    def grid(self) -> Grid:
        """The grid of the network's tokens."""
        return self._backbone().tokenizer.grid

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        """Mean tokens of the last layers, and their deviations: [n, layers * D] or twice that."""
        backbone = self._backbone()
        with torch.no_grad():
            found = backbone.layers(self.inputs, range(-min(layers, backbone.encoder.depth), 0))
        parts = [mean_tokens(tokens) for tokens in found]
        if pool == "mean_std":
            parts += [tokens.std(1, correction=0) for tokens in found]
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def tokens(self) -> Tensor:
        """Features of every token: [n, 8, 16]."""
        found: Tensor = self._backbone()(self.inputs)
        return found

    def take(self, places: Tensor) -> ToySamples:
        """The samples at `places`."""
        return ToySamples(self.inputs[places], self.hidden[places], self._asked)

    def network(self, settings: Sequence[str] = ()) -> Network | None:
        """A fresh copy; settings are taken and change nothing."""
        return Network(nn.Identity(), copy.deepcopy(self._backbone()))

    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All samples in order."""
        for places in torch.split(torch.arange(len(self)), batch_size):
            yield self._batch(places)

    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches."""
        for step in range(steps):
            yield self._batch(torch.from_numpy(permutation(seed, step, len(self)))[:batch_size])

    def _batch(self, places: Tensor) -> Batch:
        hidden = self._asked is not None
        return Batch(self.inputs[places], None if hidden else self.hidden[places])

    def _backbone(self) -> Backbone:
        config = toy_config()
        return make_backbone(config, make_modality(config)).eval()


def toy_samples(n: int, seed: int, asked: list[str] | None = None) -> ToySamples:
    """Samples of a seed; with a list for what is asked, blind ones."""
    return ToySamples(*toy_inputs(n, seed), asked)
