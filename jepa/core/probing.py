"""Evaluation on labelled samples: what a protocol gets, and what it gives.

Shape letters: see `jepa.core.tokens`; n samples, P features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import attrs
import numpy as np
import torch
from torch import Tensor, nn

from jepa.core.errors import PluginError
from jepa.core.grid import Grid

if TYPE_CHECKING:
    from jepa.core.model import Backbone

Pool = Literal["mean", "mean_std"]
"""How the tokens of a sample become one vector: their mean, or mean and deviation side by side."""


class Batch(NamedTuple):
    """Inputs [b, *S] as the loader gives them, on the CPU, with labels [b] int64 or None."""

    inputs: Tensor
    labels: Tensor | None


class Network(NamedTuple):
    """A copy of an encoder that may be trained further, on its device.

    `backbone(prepare(inputs))` gives tokens [b, N, D].
    """

    prepare: nn.Module
    backbone: Backbone


class Samples(ABC):
    """Samples as one candidate sees them: a trained encoder, an untrained one, or none (raw)."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of samples n."""

    @property
    @abstractmethod
    def labels(self) -> Tensor:
        """Labels [n] int64 in [0, len(classes)).

        Raises:
            DataError: there are none, or these samples are to be predicted.
        """

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that labels tell apart."""

    @abstractmethod
    def quantity(self, name: str) -> Tensor:
        """A measured quantity of every sample: [n] float64.

        Raises:
            DataError: the source measures no such quantity, or these samples are to be predicted.
        """

    @property
    def wholes(self) -> Tensor:
        """Which samples are parts of one: [n] int64, equal where they are (`Source.wholes`).

        Raises:
            DataError: these samples are to be predicted; `decide` knows.
        """
        return torch.arange(len(self))

    @property
    def groups(self) -> Tensor:
        """Which samples are held out together: [n] int64, equal where they are (`Source.groups`).

        Raises:
            DataError: these samples are to be predicted.
        """
        return self.wholes

    def decide(self, probabilities: Tensor) -> Tensor:
        """The class of each sample: the likeliest by the mean over all parts of its whole.

        Args:
            probabilities: of the C classes, [n, C] floating. A protocol whose scores are none, such
                as similarities, may give these: what is averaged is what is given.

        Returns:
            [n] int64, the same for all parts of a whole.

        Raises:
            PluginError: `probabilities` has another shape.
        """
        return decide(probabilities, self.wholes)

    @property
    @abstractmethod
    def grid(self) -> Grid:
        """The grid of the N tokens."""

    @abstractmethod
    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        """Tokens of the last `layers` layers made one vector, concatenated: [n, P] float32.

        An encoder of fewer layers gives all it has. Raw samples have none: they give the
        modality's baseline, whatever is asked.

        Args:
            layers: how many of the last layers.
            pool: `mean` over the tokens; `mean_std`: after the means their deviations over the
                tokens, which tell how a sample varies along its grid (statistics pooling of
                x-vectors, Snyder et al. 2018).

        Raises:
            ConfigError: more layers are asked than are kept (4).
        """

    @abstractmethod
    def tokens(self) -> Tensor:
        """Features of every token: [n, N, D] floating; may lie in a file, so read it in parts."""

    @abstractmethod
    def take(self, places: Tensor) -> Samples:
        """The samples at `places` [k] int64."""

    @abstractmethod
    def network(self, settings: Sequence[str] = ()) -> Network | None:
        """A fresh copy to train further; None: there is no network behind these features.

        Args:
            settings: `key=value` texts over the run's config, such as
                `model.encoder.drop_path=0.1`.

        Raises:
            ConfigError: the encoder does not know a setting.
        """

    @abstractmethod
    def batches(self, batch_size: int) -> Iterator[Batch]:
        """All samples in order, under the evaluation transform."""

    @abstractmethod
    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        """Shuffled batches under the training transform; a smaller set makes smaller batches."""


def decide(probabilities: Tensor, wholes: Tensor) -> Tensor:
    """As `Samples.decide`, of samples of these wholes [n] int64."""
    if probabilities.ndim != 2 or len(probabilities) != len(wholes):
        raise PluginError(
            f"decide: found {list(probabilities.shape)}, allowed: [{len(wholes)}, classes]"
        )
    means, place = means_of_wholes(probabilities, wholes)
    return means.argmax(1)[place]


def means_of_wholes(values: Tensor, wholes: Tensor) -> tuple[Tensor, Tensor]:
    """The mean over the parts of each whole.

    Args:
        values: of the samples, [n, C] floating.
        wholes: [n] int64, equal for the parts of a whole.

    Returns:
        (means [w, C] of the w wholes in the order of their numbers, and the place [n] int64 among
        them of each sample's whole).
    """
    _, found, counts = np.unique(wholes.numpy(), return_inverse=True, return_counts=True)
    place, parts = (torch.from_numpy(each).to(values.device) for each in (found, counts))
    sums = values.new_zeros(len(parts), values.shape[1]).index_add_(0, place, values)
    return sums / parts[:, None], place


@attrs.frozen(kw_only=True)
class Predictions:
    """What a protocol says of each test sample.

    Args:
        values: [R, m] of R repetitions: classes as int64 (see `Samples.decide`), or values of a
            quantity as float64.
        quantity: name of the quantity; None: classes.
        details: what a reader should know of the fit, such as the learning rate that was chosen.
    """

    values: Tensor
    quantity: str | None = None
    details: Mapping[str, float | str] = attrs.field(factory=dict)


class Protocol(ABC):
    """An evaluation of a representation. Built as `cls(config)`."""

    Config: ClassVar[type[Any]]

    @abstractmethod
    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Fit to the training samples and predict the test samples, in their order.

        Args:
            train: labelled samples.
            test: samples whose labels and quantities are hidden: asking for them raises.
            seed: of whatever the protocol draws.
        """
