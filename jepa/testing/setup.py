"""What checks are given: grids, inputs, widths, samples; and numbers to fill tensors with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import attrs
import torch
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content
from jepa.core.rng import SampleRng, Stream

GRIDS = (
    Grid((24,), ("t",)),
    Grid((6, 5), ("y", "x")),
    Grid((4, 3, 4), ("t", "y", "x")),
)
"""One each of one, two and three axes."""

SPECS = (
    InputSpec((2, 24), ("t",)),
    InputSpec((2, 12, 8), ("y", "x")),
    InputSpec((2, 4, 6, 8), ("t", "y", "x")),
)
"""Inputs of one, two and three axes."""

JUNK: tuple[Content, ...] = (b"", b"this is no sample", Path("/no/such/file"))
"""Contents that no modality can decode."""

Backend = Literal["inductor", "aot_eager"]


@attrs.frozen(kw_only=True)
class Setup:
    """What the checks of a part are given besides its settings; `conformance` says what for."""

    grids: tuple[Grid, ...] = GRIDS
    specs: tuple[InputSpec, ...] = SPECS
    dim: int = 24
    disjoint: bool = True
    contents: tuple[Content, ...] = ()
    junk: tuple[Content, ...] = JUNK
    overrides: tuple[str, ...] = ()
    root: Path | None = None
    split: str | None = None
    extensions: frozenset[str] = frozenset()
    backend: Backend = "inductor"


def uniforms(*shape: int, seed: int = 0) -> Tensor:
    """Fixed numbers in [0, 1): float32 of a shape."""
    drawn = SampleRng(seed, 0, 0, Stream.EVALUATION).uniforms(int(torch.Size(shape).numel()))
    return torch.from_numpy(drawn).float().reshape(shape)


def normals(*shape: int, seed: int = 0) -> Tensor:
    """Fixed numbers of mean 0 and variance 1: float32 of a shape."""
    found: Tensor = torch.special.ndtri(uniforms(*shape, seed=seed).clamp(1e-6, 1 - 1e-6))
    return found


def shuffled(n: int, seed: int = 0) -> Tensor:
    """A fixed order of n things: [n] int64."""
    return uniforms(n, seed=seed).argsort()


def subsets(batch: int, of: int, keep: int, seed: int = 0) -> Tensor:
    """For each sample, `keep` of `of` places, ascending: [batch, keep] int64."""
    order = uniforms(batch, of, seed=seed).argsort(dim=1)
    return order[:, :keep].sort(dim=1).values


def shown(values: Sequence[int] | Tensor) -> str:
    """A row of numbers, cut to a dozen."""
    listed = values.tolist() if isinstance(values, Tensor) else list(values)
    return f"{listed[:12]}"[:-1] + (", ...]" if len(listed) > 12 else "]")
