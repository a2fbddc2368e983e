"""Tokens averaged over the cells of a coarse grid, for probes that need to know where.

Letters: b samples, N tokens of A axes, D features of a token, Z cells.
"""

from __future__ import annotations

import functools

import torch
from einops import rearrange
from torch import Tensor

from jepa.core.grid import Grid

_READ = 64  # samples in float32 at once


def pool(tokens: Tensor, grid: Grid, cells: int) -> Tensor:
    """Means over cells, concatenated: [n, N, D] -> [n, Z * D] float32, read in parts.

    Args:
        tokens: of any floating type, in a file or not.
        grid: of the N tokens.
        cells: along each axis; an axis with fewer tokens has a cell for each of them.
    """
    weights = cell_weights(grid, cells)
    pooled = [weights @ part.float() for part in torch.split(tokens, _READ)]
    return rearrange(torch.cat(pooled), "n Z D -> n (Z D)")


def cell_weights(grid: Grid, cells: int) -> Tensor:
    """What each token counts in each cell: [Z, N] float32, rows sum to 1.

    Cell i of c over an axis of S tokens holds those from floor(i S / c) to below
    ceil((i + 1) S / c), as in torch's adaptive average pooling: where c does not divide S,
    neighbours share a token.
    """
    return functools.reduce(torch.kron, (_axis(side, min(cells, side)) for side in grid.shape))


def _axis(side: int, cells: int) -> Tensor:
    place, cell = torch.arange(side), torch.arange(cells)[:, None]
    first, end = cell * side // cells, -(-(cell + 1) * side // cells)
    inside = ((place >= first) & (place < end)).float()
    return inside / inside.sum(1, keepdim=True)
