"""Features of the same samples for several candidates: decoded once, and kept on the disk."""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import final

import attrs
import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from jepa.core.data.loading import Evaluated, evaluation_batches
from jepa.core.data.source import Source, groups_of, wholes_of
from jepa.core.errors import DataError
from jepa.core.files import write_atomic
from jepa.core.modality import Modality
from jepa.evaluation.features import Describe, Features
from jepa.evaluation.identity import identity

_BATCH = 256
_VERSION = 2


@attrs.frozen(kw_only=True)
class Kept:
    """Pooled features of the samples that could be decoded.

    Args:
        indices: of the n samples in their source, [n] int64.
        labels: [n] int64, or None.
        layers: a candidate's means over tokens [n, L, P] float32, by the candidate's name.
        deviations: over the same tokens, [n, L, P] float32, or [n, 1, 0] where there are none.
        left_out: samples that could not be decoded.
    """

    indices: Tensor
    labels: Tensor | None
    layers: Mapping[str, Tensor]
    deviations: Mapping[str, Tensor]
    left_out: int


@final
class Extraction:
    """Extracts what is asked for when it is first asked for, for all candidates at once.

    Args:
        source: of raw samples.
        modality: decodes them.
        indices: which samples, [k].
        describers: what each candidate makes of a batch, by its name.
        device: where the candidates compute.
        workers: processes that decode.
        cache: folder for pooled features; None: they are kept in memory alone.
        origin: what determines the candidates' weights, for the name of the file in the cache.
    """

    def __init__(
        self,
        source: Source,
        modality: Modality,
        indices: np.ndarray,
        describers: Mapping[str, Describe],
        device: torch.device,
        workers: int,
        cache: Path | None,
        origin: str,
    ) -> None:
        self.source, self.modality, self.indices = source, modality, indices
        self._describers, self._device, self._workers = describers, device, workers
        self._cache, self._origin = cache, origin
        self._kept: Kept | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._tokens: dict[str, Tensor] = {}

    def pooled(self) -> Kept:
        """Pooled features, from memory, from the disk, or made now.

        Raises:
            DataError: not one sample can be decoded.
        """
        if self._kept is None:
            path = self._path()
            self._kept = _read(path)
            if self._kept is None:
                self._kept = self._extract()
                if path is not None:
                    _write(path, self._kept)
        return self._kept

    @functools.cached_property
    def wholes(self) -> Tensor:
        """The number of each sample's whole: [n] int64."""
        return torch.from_numpy(wholes_of(self.source))[self.pooled().indices]

    @functools.cached_property
    def groups(self) -> Tensor:
        """The number of each sample's group: [n] int64; a source may look at every name for it."""
        return torch.from_numpy(groups_of(self.source))[self.pooled().indices]

    def tokens(self, name: str) -> Tensor:
        """Tokens [n, N, D] float16 of a candidate, in a file that goes when this object does.

        Half precision, since there are many: they are the largest thing that evaluation holds.
        """
        if not self._tokens:
            self._extract_tokens()
        return self._tokens[name]

    def _extract(self) -> Kept:
        labels: list[Tensor | None] = []
        indices: list[Tensor] = []
        layers: dict[str, list[Tensor]] = {name: [] for name in self._describers}
        deviations: dict[str, list[Tensor]] = {name: [] for name in self._describers}
        left_out = 0
        for batch, found in self._stream(self.indices):
            indices.append(batch.indices)
            labels.append(batch.labels)
            left_out += len(batch.bad)
            for name, features in found.items():
                layers[name].append(features.layers.float().cpu())
                deviations[name].append(features.deviations.float().cpu())
        known = [part for part in labels if part is not None]
        return Kept(
            indices=torch.cat(indices),
            labels=torch.cat(known) if len(known) == len(labels) else None,
            layers={name: torch.cat(parts) for name, parts in layers.items()},
            deviations={name: torch.cat(parts) for name, parts in deviations.items()},
            left_out=left_out,
        )

    def _path(self) -> Path | None:
        """The file in the cache: its name tells apart all that the features depend on."""
        if self._cache is None:
            return None
        told = [_VERSION, self._origin, sorted(self._describers), self.indices.tolist()]
        told.append(identity(self.source, self.indices))
        digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()
        return self._cache / f"{digest[:20]}.safetensors"

    def _extract_tokens(self) -> None:
        indices = self.pooled().indices.numpy()
        self._folder = tempfile.TemporaryDirectory(prefix="jepa-tokens-")
        stores: dict[str, np.memmap] = {}
        at = 0
        for batch, found in self._stream(indices):
            halves = {name: _half(name, features.tokens) for name, features in found.items()}
            if not stores:
                sizes = [tokens[0].nbytes for tokens in halves.values()]
                _check_space(self._folder.name, len(indices) * sum(sizes))
            for name, tokens in halves.items():
                if name not in stores:
                    stores[name] = np.lib.format.open_memmap(
                        Path(self._folder.name) / f"{len(stores)}.npy",
                        "w+",
                        np.float16,
                        (len(indices), *tokens.shape[1:]),
                    )
                stores[name][at : at + len(tokens)] = tokens
            at += len(batch.indices)
        self._tokens = {name: torch.from_numpy(store) for name, store in stores.items()}

    def _stream(self, indices: np.ndarray) -> Iterator[tuple[Evaluated, dict[str, Features]]]:
        for batch in evaluation_batches(self.source, self.modality, _BATCH, self._workers, indices):
            with torch.inference_mode():
                inputs = batch.inputs.to(self._device, non_blocking=True)
                found = {name: make(inputs) for name, make in self._describers.items()}
            yield batch, found


def _half(name: str, tokens: Tensor) -> np.ndarray:
    """Tokens in half precision, which ends at 65504."""
    found: np.ndarray = tokens.half().cpu().numpy()
    if not np.isfinite(found).all():
        raise DataError(f"{name}: tokens are not finite, or too large for half precision (65504)")
    return found


def _check_space(folder: str, wanted: int) -> None:
    """A mapped file that finds no room while it is filled would kill the process."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise DataError(
            f"{folder}: the tokens need {wanted / 2**30:.1f} GiB and {free / 2**30:.1f} are free; "
            "set TMPDIR to a larger disk, or lower --train-samples"
        )


def _write(path: Path, kept: Kept) -> None:
    tensors = {f"layers.{name}": tensor for name, tensor in kept.layers.items()}
    tensors |= {f"deviations.{name}": tensor for name, tensor in kept.deviations.items()}
    tensors["indices"] = kept.indices
    if kept.labels is not None:
        tensors["labels"] = kept.labels
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(tensors, {"left_out": str(kept.left_out)}))


def _read(path: Path | None) -> Kept | None:
    """What was kept, or None where nothing whole is."""
    if path is None or not path.is_file():
        return None
    try:
        content = path.read_bytes()
        tensors = load(content)
    except (OSError, SafetensorError):
        return None
    size = int.from_bytes(content[:8], "little")
    left_out = json.loads(content[8 : 8 + size])["__metadata__"]["left_out"]
    return Kept(
        indices=tensors["indices"],
        labels=tensors.get("labels"),
        layers=_below("layers.", tensors),
        deviations=_below("deviations.", tensors),
        left_out=int(left_out),
    )


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
