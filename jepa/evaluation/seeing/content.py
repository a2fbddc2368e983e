"""The content of tokens, as previews show it, and back to a picture. Blind to the modality.

Previews are aligned with the grid, so each token has a rectangle of the picture: its cell.
"""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.pictures import plane

_DOTS = 64
"""Finer cells are averaged down to about so many dots, of the same shape."""


@attrs.frozen
class Cells:
    """How previews are cut into the cells of tokens.

    Letters: h and w sides of a cell, c 1 or 3 colours, P = h * w * c.

    Args:
        grid: of the tokens.
        height: dots of a cell, h.
        width: dots of a cell, w.
        colours: 1 where all pictures are grey, so that no colour is made up; else 3.
    """

    grid: Grid
    height: int
    width: int
    colours: int

    @property
    def size(self) -> int:
        """Numbers of a cell, P."""
        return self.height * self.width * self.colours

    def shrink(self, pictures: Tensor) -> Tensor:
        """Pictures whose sides are whole cells: uint8 [B, H, W, 3] -> uint8 [B, R h, C w, 3]."""
        rows, cols = plane(self.grid).shape
        sides = (rows * self.height, cols * self.width)
        if pictures.shape[1:3] == sides:
            return pictures
        first = rearrange(pictures.float(), "B H W c -> B c H W")
        small = F.interpolate(first, sides, mode="area").round()
        return rearrange(small, "B c H W -> B H W c").to(torch.uint8)

    def cut(self, pictures: Tensor) -> Tensor:
        """The content of each token: uint8 [B, H, W, 3] -> float32 [B, N, P] in [-1, 1]."""
        small = self.shrink(pictures)[..., : self.colours].float() / 127.5 - 1
        laid = rearrange(small, "B (R h) (C w) c -> B (R C) (h w c)", h=self.height, w=self.width)
        return laid[:, plane(self.grid).flatten().argsort()]

    def paste(self, picture: Tensor, places: Tensor, content: Tensor) -> Tensor:
        """Put content into its places: uint8 [H, W, 3], [T], [T, P] -> uint8 [R h, C w, 3]."""
        rows, cols = plane(self.grid).shape
        laid = rearrange(
            self.shrink(picture[None])[0], "(R h) (C w) c -> (R C) h w c", R=rows, C=cols
        ).clone()
        where = plane(self.grid).flatten().argsort()
        dots = ((content.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        laid[where[places]] = repeat(
            dots, "T (h w c) -> T h w (c k)", h=self.height, w=self.width, k=3 // self.colours
        )
        return rearrange(laid, "(R C) h w c -> (R h) (C w) c", R=rows)


def cells(pictures: Tensor, grid: Grid) -> Cells:
    """The cells of pictures [B, H, W, 3] over a grid."""
    rows, cols = plane(grid).shape
    height, width = (max(1, pictures.shape[1] // rows), max(1, pictures.shape[2] // cols))
    finer = max(1.0, (height * width / _DOTS) ** 0.5)
    height, width = (max(1, round(side / finer)) for side in (height, width))
    grey = bool((pictures == pictures[..., :1]).all())
    return Cells(grid, height, width, 1 if grey else 3)
