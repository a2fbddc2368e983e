"""The grid of tokens: the one thing that masks, encoders and predictors know of a modality."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

from jepa.core.errors import JepaError


@attrs.frozen
class Grid:
    """An A-dimensional grid of N tokens in C order (the last axis runs fastest).

    Args:
        shape: tokens along each axis, each at least 1.
        axes: a name for each axis, such as `("y", "x")` or `("t", "y", "x")`.

    Raises:
        JepaError: shape and axes differ in length, are empty, or a side is below 1.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        if not self.shape or len(self.shape) != len(self.axes) or len(set(self.axes)) < self.ndim:
            raise JepaError(
                f"grid: shape {self.shape} and axes {self.axes} must name the same axes once"
            )
        if any(side < 1 for side in self.shape):
            raise JepaError(f"grid: every side of {self.shape} must be at least 1")

    @property
    def ndim(self) -> int:
        """Number of axes A."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of tokens N."""
        return math.prod(self.shape)

    def coords(self) -> Tensor:
        """Coordinates of all tokens in C order: [N, A] int64."""
        axes = [torch.arange(side) for side in self.shape]
        return torch.cartesian_prod(*axes).reshape(self.size, self.ndim)

    def __str__(self) -> str:
        return " x ".join(map(str, self.shape)) + f" ({', '.join(self.axes)})"
