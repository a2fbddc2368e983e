"""Where planes of values, such as pictures, are cut, and how they are resized."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch.nn.functional as F
from torch import Tensor

from jepa.core.rng import SampleRng

Interpolation = Literal["bilinear", "bicubic"]
_TRIES = 10


class Box(NamedTuple):
    """A part of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def reduced(self, scale: int) -> Box:
        """The same part of a picture whose sides were divided by `scale`, to the nearest pixel.

        It loses less than one pixel: a side of at least n * scale keeps at least n.
        """
        half = scale // 2
        top, left = (self.top + half) // scale, (self.left + half) // scale
        bottom = (self.top + self.height + half) // scale
        right = (self.left + self.width + half) // scale
        return Box(top, left, bottom - top, right - left)


def random_box(
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
    rng: SampleRng,
) -> Box:
    """A random part of a picture, distributed as by torchvision's RandomResizedCrop.

    Area uniform in `scale` of the picture's, aspect (width / height) log-uniform in `ratio`. Where
    ten draws do not fit, the largest central part of an allowed aspect.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for area, aspect, y, x in rng.uniforms(4 * _TRIES).reshape(_TRIES, 4).tolist():
        size = height * width * (scale[0] + (scale[1] - scale[0]) * area)
        stretch = math.exp(low + (high - low) * aspect)
        w, h = round(math.sqrt(size * stretch)), round(math.sqrt(size / stretch))
        if 0 < w <= width and 0 < h <= height:
            return Box(int(y * (height - h + 1)), int(x * (width - w + 1)), h, w)
    w = max(1, min(width, round(height * ratio[1])))
    h = max(1, min(height, round(width / ratio[0])))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def resize(values: Tensor, height: int, width: int, interpolation: Interpolation) -> Tensor:
    """Resize uint8 [C, h, w] to [C, height, width], with anti-aliasing."""
    if values.shape[1:] == (height, width):
        return values
    return F.interpolate(values[None], (height, width), mode=interpolation, antialias=True)[0]


def cover(height: int, width: int, at_least: tuple[float, float]) -> tuple[int, int]:
    """The size of a picture resized, in its own aspect, until one side just reaches `at_least`.

    On a square this is torchvision's Resize of the short side.
    """
    need_h, need_w = round(at_least[0]), round(at_least[1])
    if width * need_h <= height * need_w:
        return max(need_h, int(need_w * height / width)), need_w
    return need_h, max(need_w, int(need_h * width / height))


def center(height: int, width: int, size: tuple[int, int]) -> Box:
    """The central part of `size`, rounded as torchvision's CenterCrop does."""
    return Box(round((height - size[0]) / 2), round((width - size[1]) / 2), *size)
