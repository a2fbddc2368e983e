"""What a modality brings: raw samples in, tensors [*S] out, and how to look at them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from torch import Tensor, nn

from jepa.core.interfaces import InputSpec
from jepa.core.rng import SampleRng

if TYPE_CHECKING:
    from jepa.core.data.source import Source

Content = Path | bytes | np.ndarray
"""One raw sample as a source gives it: a file, the bytes of a file, or an array."""


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

        The picture is aligned with the grid: grid axes map linearly onto (H, W).
        """

    @abstractmethod
    def baseline(self, inputs: Tensor) -> Tensor:
        """Raw features that probes compare with: inputs as the loader gives them -> [B, P]."""
