"""Predictors that need no training; one that has learned something does better.

Each gives predictions of one view, [B, M, T, D], in the space of normalised targets
(`Objective.normalise`), so that any objective can be asked for their loss.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from jepa.core.tokens import gather


def batch_mean(targets: Tensor) -> Tensor:
    """Says the mean of all targets everywhere: [B, M, T, D] -> [B, M, T, D]."""
    return targets.mean(dim=(0, 1, 2)).expand_as(targets)


def position_mean(targets: Tensor, places: Tensor, size: int) -> Tensor:
    """Says what stands at the same place in the other samples, on average.

    A place that no other sample has gets the mean of all targets.

    Args:
        targets: [B, M, T, D].
        places: of the targets on the grid, [B, M, T] int64.
        size: places of the grid, N.

    Returns:
        [B, M, T, D].
    """
    rows = torch.arange(targets.shape[0], device=places.device)[:, None, None].expand_as(places)
    values = torch.cat([targets.double(), torch.ones_like(targets[..., :1]).double()], dim=-1)
    own = values.new_zeros(targets.shape[0], size, values.shape[-1])
    own.index_put_((rows, places), values, accumulate=True)
    others = own.sum(dim=0) - own  # [B, N, D + 1], the number of tokens last
    found = others[rows, places]
    count = found[..., -1:].round()
    mean = found[..., :-1] / count.clamp(min=1)
    return torch.where(count > 0, mean.to(targets.dtype), batch_mean(targets))


def nearest_copy(seen: Tensor, seen_coords: Tensor, coords: Tensor) -> Tensor:
    """Repeats the nearest token of the context.

    Args:
        seen: what the target makes of the context's places, normalised: [B, K, D].
        seen_coords: [B, K, A] int64.
        coords: of the targets, [B, M, T, A] int64.

    Returns:
        [B, M, T, D]; of several tokens that are equally near, the first.
    """
    asked = rearrange(coords, "B M T A -> B (M T) A")
    apart = torch.cdist(asked.float(), seen_coords.float())  # [B, M*T, K]
    copied = gather(seen, apart.argmin(dim=2))
    return rearrange(copied, "B (M T) D -> B M T D", M=coords.shape[1])
