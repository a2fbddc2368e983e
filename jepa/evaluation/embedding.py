"""Features of every sample of a source as rows of an array, one batch in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import attrs
import numpy as np
import torch
from einops import reduce
from torch import Tensor

from jepa.core.data.loading import LeftOut, attempts
from jepa.core.data.source import Source
from jepa.core.errors import ConfigError, DataError
from jepa.core.probing import Pool
from jepa.core.training.manifest import NAME as MANIFEST
from jepa.evaluation.identity import identity
from jepa.evaluation.loading import Frozen

_FORMAT = 1
_SHARD_BYTES = 16 << 20
_SHARD_ROWS = 2048


@attrs.frozen(kw_only=True)
class Options:
    """What a row is.

    Args:
        per_token: the features of every token, [N, P]; else they are pooled, [P].
        layers: the last so many layers, concatenated: P = D * layers.
        pool: how tokens are pooled: `mean_std` makes P twice as wide (see `Samples.pooled`).
        dtype: of the array.
        batch: samples that go through the network together. Rounding depends on it.
    """

    per_token: bool = False
    layers: int = 1
    pool: Pool = "mean"
    dtype: Literal["float32", "float16"] = "float32"
    batch: int = 128


class Rows(NamedTuple):
    """What one batch gave.

    Attributes:
        features: [b, *row], b samples that could be decoded.
        indices: of them in the source, [b] int64.
        names: of them.
        bad: samples that could not be decoded.
    """

    features: np.ndarray
    indices: np.ndarray
    names: tuple[str, ...]
    bad: tuple[LeftOut, ...]


@final
class Embedder:
    """Makes rows of a trained backbone, which it moves to the device.

    Raises:
        ConfigError: more layers than the encoder has, or a pool beside `per_token`.
    """

    def __init__(self, frozen: Frozen, device: torch.device, options: Options) -> None:
        backbone, modality, _ = frozen
        depth = backbone.encoder.depth
        if options.layers > depth:
            raise ConfigError(
                f"found {options.layers}, allowed: 1 to {depth}, the encoder's depth", "--layers"
            )
        if options.per_token and options.pool != "mean":
            raise ConfigError(
                f"found {options.pool} beside --per-token, allowed: one of the two", "--pool"
            )
        self.modality, self.device, self.options = modality, device, options
        self._network = backbone.to(device).eval()
        self._prepare = modality.device_transform().to(device)
        width = backbone.dim * options.layers * (2 if options.pool == "mean_std" else 1)
        self.grid = backbone.tokenizer.grid_for(modality.spec.shape)
        self.row: tuple[int, ...] = (self.grid.size, width) if options.per_token else (width,)

    def describe(self, inputs: Tensor) -> np.ndarray:
        """Inputs [b, *S] as the loader gives them -> features [b, *row]."""
        with torch.inference_mode():
            prepared = self._prepare(inputs.to(self.device, non_blocking=True))
            outputs = self._network.layers(prepared, range(-self.options.layers, 0))
            if not self.options.per_token:
                outputs = self._pooled(outputs)
            made: np.ndarray = torch.cat(outputs, dim=-1).float().cpu().numpy()
        return made.astype(self.options.dtype, copy=False)

    def _pooled(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        found = [reduce(tokens, "b N D -> b D", "mean") for tokens in outputs]
        if self.options.pool == "mean_std":
            found += [tokens.std(1, correction=0) for tokens in outputs]
        return found

    def rows(self, source: Source, workers: int, first: int = 0) -> Iterator[Rows]:
        """Rows of the samples from `first` on: one result for each `options.batch` samples.

        Raises:
            DataError: a sample's row has another shape than the modality announces.
        """
        everyone = np.arange(first, len(source))
        for found in attempts(source, self.modality, self.options.batch, workers, everyone):
            features = np.zeros((0, *self.row), dtype=self.options.dtype)
            if found.inputs is not None:
                features = self.describe(found.inputs)
            if features.shape[1:] != self.row:
                raise DataError(
                    f"{found.names[0]}: found features of shape {list(features.shape[1:])}, "
                    f"allowed: {list(self.row)}, as the modality announces"
                )
            yield Rows(features, found.indices.numpy(), found.names, found.bad)

    def recipe(self, checkpoint: Path, source: Source) -> dict[str, Any]:
        """Everything that rows depend on, as JSON holds it: rows of equal recipes are the same."""
        options = self.options
        row_bytes = int(np.prod(self.row)) * np.dtype(options.dtype).itemsize
        # Whole batches, so that a process that goes on divides the rest into the same batches.
        batches = max(1, min(_SHARD_BYTES // row_bytes, _SHARD_ROWS) // options.batch)
        return {
            "format": _FORMAT,
            "checkpoint": checkpoint_digest(checkpoint),
            "source": identity(source),
            "samples": len(source),
            "row": list(self.row),
            **attrs.asdict(options),
            "shard": batches * options.batch,
        }


def checkpoint_digest(checkpoint: Path) -> str:
    """What tells a checkpoint's weights apart: its manifest holds a digest of every file."""
    return hashlib.sha256((checkpoint / MANIFEST).read_bytes()).hexdigest()
