"""Pictures of masks over whatever a modality's `preview` shows. Blind to the modality.

Letters besides those of `jepa.core.tokens`: H and W are the sides of a preview, h and w those of
the same picture enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from einops import rearrange, repeat
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.tokens import Masks

if TYPE_CHECKING:
    from jepa.core.modality import Modality

_LONG_SIDE = 128
_UNDER_TINT = 0.4
_UNDER_HATCH = 0.2
_HATCH = 70
_HATCH_PERIOD = 6
_WHITE = 255

# The qualitative palette of Okabe and Ito (2008), which colour-blind people tell apart.
_PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def pictured(modality: Modality, inputs: Tensor, grid: Grid) -> Tensor:
    """Pictures of inputs that lie on `plane(grid)`: uint8 [B, H, W, 3] on the CPU.

    A preview has a slice for each place of an input along the axes before the last two, and a token
    may span several places. Of these the first slice is kept, so that a token has one.

    Args:
        modality: shows the inputs.
        inputs: as the loader gives them, [B, *S].
        grid: of the tokens.
    """
    pictures = modality.preview(inputs).cpu()
    places, tokens = modality.spec.shape[1:-2], grid.shape[:-2]
    if not tokens or len(places) != len(tokens) or pictures.shape[2] % math.prod(places):
        return pictures
    slices = rearrange(pictures, "b h (n w) c -> n b h w c", n=math.prod(places))
    number = torch.arange(math.prod(places)).reshape(places)
    for axis, (place, token) in enumerate(zip(places, tokens, strict=True)):
        number = number.index_select(axis, torch.arange(token) * place // token)
    return rearrange(slices[number.flatten()], "n b h w c -> b h (n w) c")


def enlarge(pictures: Tensor) -> Tensor:
    """Enlarge small pictures by a whole factor: uint8 [B, H, W, 3] -> uint8 [B, h, w, 3].

    The longer side comes near 128 pixels; larger pictures stay as they are.
    """
    factor = max(1, _LONG_SIDE // max(pictures.shape[1:3]))
    return repeat(pictures, "b h w c -> b (h i) (w j) c", i=factor, j=factor)


def overlay(pictures: Tensor, grid: Grid, masks: Masks) -> Tensor:
    """Show one view over pictures: context as it is, targets tinted, the rest dark and hatched.

    Each target block has a colour of its own (they repeat after seven); where blocks overlap the
    colours mix. A token that is context and target shows as target.

    Args:
        pictures: uint8 [B, H, W, 3], as `Modality.preview` gives them.
        grid: of the tokens. Its axes lie on the picture so: the last along the width, the one
            before it along the height, and slices of all earlier axes side by side. A grid of one
            axis takes the whole height.
        masks: context [B, K] and targets [B, M, T].

    Returns:
        uint8 [B, h, w, 3], enlarged as by `enlarge`.
    """
    large = enlarge(pictures).cpu()
    height, width = large.shape[1:3]
    cells = _cells(grid, height, width)
    context, hits, colours = _marks(masks, grid.size)
    context, hits = context[:, cells, None], hits[:, cells, None]  # [B, h, w, 1]
    tinted = _UNDER_TINT * large + (1 - _UNDER_TINT) * colours[:, cells]
    hidden = _UNDER_HATCH * large + _hatch(height, width)
    shown = torch.where(hits, tinted, torch.where(context, large, hidden))
    return shown.round().to(torch.uint8)


def plane(grid: Grid) -> Tensor:
    """Tokens as they lie on a preview: [rows, cols] int64.

    The last axis runs along the width, the one before it along the height, and slices of all
    earlier axes stand side by side. One axis makes one row.
    """
    tokens = torch.arange(grid.size).reshape(grid.shape)
    if grid.ndim == 1:
        return rearrange(tokens, "x -> 1 x")
    return rearrange(tokens, "... y x -> y (... x)")


def sheet(columns: Sequence[Tensor], gap: int = 4) -> Tensor:
    """Lay pictures out on one white sheet, a sample a row.

    Args:
        columns: uint8 [B, h, w, 3] each, of one shape.
        gap: white pixels between pictures.

    Returns:
        uint8 [rows, cols, 3].
    """
    tiles = torch.stack(list(columns), dim=1)
    framed = torch.nn.functional.pad(tiles, (0, 0, 0, gap, 0, gap), value=_WHITE)
    joined = rearrange(framed, "b n h w c -> (b h) (n w) c")
    return torch.nn.functional.pad(joined, (0, 0, gap, 0, gap, 0), value=_WHITE)


def _cells(grid: Grid, height: int, width: int) -> Tensor:
    """Which token each pixel belongs to: [height, width] int64."""
    flat = plane(grid)
    rows = torch.arange(height) * flat.shape[0] // height
    cols = torch.arange(width) * flat.shape[1] // width
    return flat[rows[:, None], cols]


def _hatch(height: int, width: int) -> Tensor:
    """Diagonal stripes: [height, width, 1] float32. They tell dark content from hidden content."""
    diagonal = torch.arange(height)[:, None] + torch.arange(width)
    return torch.where(diagonal % _HATCH_PERIOD < _HATCH_PERIOD // 3, _HATCH, 0.0)[..., None]


def _marks(masks: Masks, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Whether a token is context [B, N], is a target [B, N], and its colour if so [B, N, 3]."""
    context, targets = masks.context.cpu(), masks.targets.cpu()
    batch, blocks, _ = targets.shape
    in_context = torch.zeros(batch, size).scatter_(1, context, 1.0)
    in_block = torch.zeros(batch, blocks, size).scatter_(2, targets, 1.0)
    count = in_block.sum(dim=1)  # [B, N]
    palette = torch.tensor(_PALETTE, dtype=torch.float32)
    colours = palette[torch.arange(blocks) % len(palette)]
    mixed = torch.einsum("bmn,mc->bnc", in_block, colours) / count.clamp(min=1)[..., None]
    return in_context > 0, count > 0, mixed
