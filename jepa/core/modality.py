"""What a modality brings: raw samples in, tensors [*S] out, and how to look at them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np
from torch import Tensor, nn

from jepa.core.errors import DecodeError
from jepa.core.interfaces import InputSpec
from jepa.core.rng import SampleRng
from jepa.core.validators import fraction

if TYPE_CHECKING:
    from jepa.core.data.source import Source

Whole = Path | bytes | np.ndarray
"""A file or folder, the bytes of a file, or an array."""


@attrs.frozen
class Stretch:
    """A part of a long sample along its first axis, such as a quarter of a recording.

    Args:
        content: the sample that it is a part of.
        begin: where it begins, as a share of the sample's length.
        end: where it ends. An end before the beginning: the part is read backwards.
    """

    content: Whole
    begin: float = attrs.field(default=0.0, validator=fraction)
    end: float = attrs.field(default=1.0, validator=fraction)

    def __attrs_post_init__(self) -> None:
        if self.begin == self.end:
            raise ValueError(f"a stretch from {self.begin:g} to {self.end:g} holds nothing")

    @property
    def backwards(self) -> bool:
        """Whether the part is read from its end to its beginning."""
        return self.end < self.begin

    def span(self, length: int) -> range:
        """Which of `length` places the part holds, in the order in which they are read.

        Parts that meet share no place and leave none out, but a part that is shorter than a place
        holds one all the same.
        """
        low, high = sorted((self.begin, self.end))
        first = min(round(low * length), length - 1)
        behind = max(round(high * length), first + 1)
        return range(behind - 1, first - 1, -1) if self.backwards else range(first, behind)


Content = Whole | Stretch
"""One raw sample as a source gives it."""


def whole(content: Content) -> Whole:
    """The sample that content is, or is a part of."""
    return content.content if isinstance(content, Stretch) else content


def part_of(content: Content, begin: float, end: float) -> Stretch:
    """A part of content, in shares of what that holds; an end before the beginning turns it about.

    Args:
        content: may be a part already, and may be read backwards.
        begin: where it begins, from 0 to 1.
        end: where it ends.
    """
    if not isinstance(content, Stretch):
        return Stretch(content, begin, end)
    held = content.end - content.begin
    # A sum of shares may miss 1 by a rounding.
    shares = (min(max(content.begin + share * held, 0.0), 1.0) for share in (begin, end))
    return Stretch(content.content, *shares)


def entire(content: Content) -> Whole:
    """Content for a modality that takes no stretches.

    Raises:
        DecodeError: it is a stretch.
    """
    if isinstance(content, Stretch):
        raise DecodeError("found a stretch of a sample, allowed: whole samples")
    return content


class Modality(ABC):
    """Everything that knows what a sample is. Built as `cls(config)`.

    Nothing outside a modality's folder knows what an image is. Inputs of a batch share one shape:
    a modality crops, pads or buckets. Both `*_input` methods run in worker processes, give CPU
    tensors of one dtype (uint8 travels cheapest; `device_transform` makes floats of it), and raise
    `DecodeError` for content that cannot be decoded. Their shape is `spec.loaded`.
    """

    Config: ClassVar[type[Any]]
    extensions: ClassVar[frozenset[str]]
    """Lower-case file endings with the dot, such as `.jpg`, that folders are searched for."""
    measures: ClassVar[tuple[str, ...]] = ()
    """Names of numbers in `Config` that `fit` measures where they are None, such as a mean. `spec`
    does not depend on them, and a modality that was not fitted works too."""

    takes_stretches: ClassVar[bool] = False
    """Whether content may be a `Stretch`. Where not, sources that give them are refused."""

    @classmethod
    def fit(cls, config: Any, source: Source) -> Any:
        """The settings with all of `measures` that are None measured on samples of a source.

        Called once a data set, before training; the numbers are kept in the data cache and stand
        in the run's config from then on. They depend on the settings and the source alone.

        Args:
            config: of type `Config`.
            source: of the training samples.

        Raises:
            DataError: no sample can be decoded.
        """
        return config

    @classmethod
    @abstractmethod
    def defaults(cls) -> Mapping[str, Any]:
        """Raw config (as YAML would give it) that stands under the user's, part by part."""

    @property
    @abstractmethod
    def spec(self) -> InputSpec:
        """Shape and axes of one input after `device_transform`, and its shape before."""

    @abstractmethod
    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """Decode and transform for training: `spec.loaded`. All randomness comes from `rng`."""

    @abstractmethod
    def eval_input(self, content: Content) -> Tensor:
        """Decode and transform for evaluation: `spec.loaded`, deterministic."""

    @abstractmethod
    def device_transform(self) -> nn.Module:
        """What happens on the device, in batch: inputs as loaded, of any dtype -> float32 [B, *S].

        A module without parameters; buffers are not persistent.
        """

    @abstractmethod
    def preview(self, inputs: Tensor) -> Tensor:
        """Pictures for people: inputs as the loader gives them -> uint8 [B, H, W, 3].

        The picture is aligned with the grid: grid axes map linearly onto (H, W). Of more than two
        axes the last two do, and slices of the earlier ones, one for each place of the input along
        them, stand side by side in their order. `jepa.core.pictured` leaves out those that
        have no token of their own.
        """

    @abstractmethod
    def baseline(self, inputs: Tensor) -> Tensor:
        """Raw features that probes compare with: inputs as the loader gives them -> [B, P]."""
