"""Patches without overlap: images (y, x), clips (t, y, x), signals (t)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec, Tokenizer
from jepa.core.settings import positive, positive_all
from jepa.core.tokens import Tokens
from jepa.plugins.layers import initialise

_CONV: Mapping[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_TO_PATCHES = {
    1: "B C (n0 p0) -> B (n0) (C p0)",
    2: "B C (n0 p0) (n1 p1) -> B (n0 n1) (C p0 p1)",
    3: "B C (n0 p0) (n1 p1) (n2 p2) -> B (n0 n1 n2) (C p0 p1 p2)",
}


class PatchTokenizer(Tokenizer):
    """A convolution whose kernel is its stride (ViT; tubelets with three axes).

    The weight is stored as a convolution's (`proj.weight` [D, C, *size], timm's
    `patch_embed.proj`), and applied as one matrix product over whole patches.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the patch tokenizer."""

        size: tuple[int, ...] = attrs.field(default=(16, 16), validator=positive_all)
        """Side of a patch along each axis, in samples of the input."""
        init_std: float | None = attrs.field(default=0.02, validator=positive)
        """Standard deviation that the weights start with; null: 1 / sqrt(values of a patch), which
        gives tokens the spread of the inputs. At 0.02 (I-JEPA) small patches drown in their
        positions, and a small model then predicts positions from positions."""

    def __init__(self, config: Config, *, spec: InputSpec, dim: int) -> None:
        super().__init__()
        if len(config.size) != len(spec.axes) or len(spec.axes) not in _CONV:
            raise ConfigError(
                Fault(
                    "size",
                    f"found {list(config.size)}, allowed: one side for each of the axes "
                    f"{list(spec.axes)} (1 to 3)",
                )
            )
        self.coords: Tensor
        self.size = config.size
        self.axes = spec.axes
        self.grid = self.grid_for(spec.shape)
        self.proj = _CONV[len(self.size)](
            spec.shape[0], dim, kernel_size=self.size, stride=self.size
        )
        self.register_buffer("coords", self.grid.coords(), persistent=False)
        values = spec.shape[0] * math.prod(self.size)
        initialise(self, config.init_std or values**-0.5)

    def grid_for(self, shape: Sequence[int]) -> Grid:
        """The grid of one input [C, *sides]."""
        sides = tuple(shape[1:])
        whole = len(sides) == len(self.size) and all(
            side >= patch and side % patch == 0
            for side, patch in zip(sides, self.size, strict=True)
        )
        if not whole:
            raise ConfigError(
                Fault(
                    "size",
                    f"patches of {list(self.size)} do not divide an input of {list(sides)}",
                )
            )
        return Grid(
            tuple(side // patch for side, patch in zip(sides, self.size, strict=True)), self.axes
        )

    def forward(self, inputs: Tensor) -> Tokens:
        """[B, C, *sides] -> data [B, N, D], coords [B, N, A]."""
        grid = self.grid_for(inputs.shape[1:])
        weight = rearrange(self.proj.weight, "D ... -> D (...)")
        data = F.linear(self.raw(inputs), weight, self.proj.bias)
        coords = self.coords if grid == self.grid else grid.coords().to(data.device)
        return Tokens(data, coords.expand(data.shape[0], -1, -1))

    def raw(self, inputs: Tensor) -> Tensor:
        """[B, C, *sides] -> [B, N, C * patch]: each patch's samples, channels first."""
        sides = {f"p{axis}": patch for axis, patch in enumerate(self.size)}
        return rearrange(inputs, _TO_PATCHES[len(self.size)], **sides)
