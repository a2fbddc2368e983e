"""Normalisation of 8-bit inputs, a channel at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Of red, green and blue over ImageNet's photographs, in 0 to 1."""
IMAGENET_STD = (0.229, 0.224, 0.225)


@final
class Normalize(nn.Module):
    """uint8 [B, C, ...] -> float32, (x / 255 - mean) / std a channel.

    Args:
        mean: of each channel, of values in 0 to 1.
        std: standard deviation of each.
        axes: behind the channel.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], axes: int) -> None:
        super().__init__()
        shape = (-1, *[1] * axes)
        means, stds = (torch.tensor(v, dtype=torch.float64).reshape(shape) for v in (mean, std))
        # One multiplication and one addition a value.
        self.register_buffer("scale", (1 / (255 * stds)).float(), persistent=False)
        self.register_buffer("shift", (-means / stds).float(), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """[B, C, ...] of any type -> float32 [B, C, ...]."""
        return torch.addcmul(self.shift, inputs.float(), self.scale)
