"""Tensors that travel together.

They are NamedTuples because those are pytrees: DDP, FSDP2, torch.compile and the loader see the
tensors inside.

Shape letters, here and everywhere: B batch, N tokens of the grid, K context tokens, M target
blocks of a view, T tokens of a target block, D width, A axes of the grid, S sample shape.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Tokens(NamedTuple):
    """Tokens with their places: `data` [B, N, D], `coords` [B, N, A] int64."""

    data: Tensor
    coords: Tensor

    def take(self, index: Tensor) -> Tokens:
        """Keep the tokens at `index` [B, K] int64 of each row: N becomes K."""
        return Tokens(gather(self.data, index), gather(self.coords, index))


class Masks(NamedTuple):
    """One view: which tokens are context and which are targets.

    `context` [B, K] and `targets` [B, M, T] are int64 indices into the grid, ascending and unique
    in a row (of K or of T).
    """

    context: Tensor
    targets: Tensor


class Query(NamedTuple):
    """What the predictor is asked for.

    Attributes:
        coords: [b, T, A] int64, the places to predict.
        view: which view of the step this is (a predictor may hold a mask token a view).
        condition: optional [b, C], what else the prediction depends on (such as an action).
    """

    coords: Tensor
    view: int
    condition: Tensor | None = None


class Loss(NamedTuple):
    """`total` [] to differentiate; `parts` are named scalars [] for the log."""

    total: Tensor
    parts: dict[str, Tensor]


def gather(data: Tensor, index: Tensor) -> Tensor:
    """Take rows by index: data [B, N, *F], index [B, K] int64 -> [B, K, *F]."""
    rows = torch.arange(data.shape[0], device=data.device)[:, None]
    return data[rows, index]
