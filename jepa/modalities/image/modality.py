"""Images: [C, H, W] on a grid (y, x)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import attrs
import torch.nn.functional as F
from einops import rearrange, repeat
from torch import Tensor, nn

from jepa.core.channels import IMAGENET_MEAN, IMAGENET_STD, Normalize
from jepa.core.crop import Interpolation, center, cover, random_box, resize
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content, Modality, entire
from jepa.core.rng import SampleRng
from jepa.core.settings import FieldError, check, positive_range, scale_range
from jepa.modalities.image.decode import EXTENSIONS, open_picture

_BASELINE_SIDE = 32

_part_of_one = check("above 0, at most 1", lambda v: 0 < v <= 1)
_sides = check("two sides of at least 1 pixel", lambda v: min(v) >= 1)


def _average(values: tuple[float, ...]) -> tuple[float, ...]:
    return (round(sum(values) / len(values), 3),)


@final
class ImageModality(Modality):
    """Pictures as uint8 [C, H, W], cropped at random to train and centrally to evaluate.

    The training transform is I-JEPA's: a random resized crop and nothing else, no flip and no
    colour jitter. Normalisation happens on the device.
    """

    extensions = EXTENSIONS

    @attrs.frozen(kw_only=True)
    class Config:
        """Size, cropping and colours."""

        size: tuple[int, int] = attrs.field(default=(224, 224), validator=_sides)
        """Height and width in pixels."""
        channels: Literal[1, 3] = 3
        """3: RGB; 1: grey."""
        crop_scale: tuple[float, float] = attrs.field(default=(0.3, 1.0), validator=scale_range)
        """Share of the picture's area that a training crop has, from and to."""
        crop_ratio: tuple[float, float] = attrs.field(
            default=(3 / 4, 4 / 3), validator=positive_range
        )
        """Width over height of a training crop, from and to."""
        eval_crop: float = attrs.field(default=0.875, validator=_part_of_one)
        """Share of the shorter side that evaluation keeps; 1: all of it, for tiny pictures."""
        interpolation: Interpolation = "bilinear"
        mean: tuple[float, ...] | None = None
        """A channel's mean, of values in 0 to 1; None: ImageNet's (their average for grey)."""
        std: tuple[float, ...] | None = None
        """A channel's standard deviation; None: ImageNet's (their average for grey)."""

        def __attrs_post_init__(self) -> None:
            for name, values in (("mean", self.mean), ("std", self.std)):
                if values is not None and len(values) != self.channels:
                    raise FieldError(
                        name,
                        f"found {len(values)} numbers, allowed: {self.channels}, one a channel",
                    )
            if self.std is not None and min(self.std) <= 0:
                raise FieldError("std", f"found {self.std}, allowed: above 0")

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        """I-JEPA's parts at the size of ViT-B/16."""
        return {
            "data": {"source": {"name": "folder"}},
            "model": {
                "tokenizer": {"name": "patch", "size": [16, 16]},
                "encoder": {"name": "vit", "preset": "base", "position_order": ["x", "y"]},
                "predictor": {"name": "vit", "depth": 6, "dim": 384, "position_order": ["x", "y"]},
                "target": {"name": "ema"},
                "objective": {"name": "smooth_l1"},
            },
            "masks": [{"name": "multiblock"}],
            "observers": [
                {"name": name} for name in ("progress", "jsonl", "tensorboard", "health")
            ],
        }

    @property
    def spec(self) -> InputSpec:
        """[C, H, W] on the axes (y, x)."""
        return InputSpec((self.config.channels, *self.config.size), ("y", "x"))

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """A random resized crop: uint8 [C, H, W].

        JPEGs of which the crop has twice the size that is needed, or more, are decoded at 1/2, 1/4
        or 1/8; never so small that the crop would be enlarged for it. The crop's edges move to the
        nearest pixel of the smaller picture, by less than one pixel of the input.
        """
        config = self.config
        picture = open_picture(entire(content), config.channels)
        box = random_box(picture.height, picture.width, config.crop_scale, config.crop_ratio, rng)
        height, width = config.size
        pixels, scale = picture.pixels(min(box.height // height, box.width // width))
        top, left, h, w = box.reduced(scale)
        part = pixels[:, top : top + h, left : left + w]
        return resize(part, height, width, config.interpolation)

    def eval_input(self, content: Content) -> Tensor:
        """The centre of the picture, resized to `size / eval_crop` first: uint8 [C, H, W].

        The same as torchvision's Resize and CenterCrop.
        """
        config = self.config
        picture = open_picture(entire(content), config.channels)
        pixels, _ = picture.pixels()
        height, width = config.size
        wanted = height / config.eval_crop, width / config.eval_crop
        resized = resize(
            pixels, *cover(picture.height, picture.width, wanted), config.interpolation
        )
        top, left, h, w = center(resized.shape[1], resized.shape[2], config.size)
        return resized[:, top : top + h, left : left + w]

    def device_transform(self) -> nn.Module:
        """uint8 [B, C, H, W] -> normalised float32 [B, C, H, W]."""
        grey = self.config.channels == 1
        mean = self.config.mean or (_average(IMAGENET_MEAN) if grey else IMAGENET_MEAN)
        std = self.config.std or (_average(IMAGENET_STD) if grey else IMAGENET_STD)
        return Normalize(mean, std, axes=2)

    def preview(self, inputs: Tensor) -> Tensor:
        """The inputs themselves: uint8 [B, C, H, W] -> uint8 [B, H, W, 3]."""
        if self.config.channels == 1:
            return repeat(inputs, "b 1 h w -> b h w 3")
        return rearrange(inputs, "b c h w -> b h w c")

    def baseline(self, inputs: Tensor) -> Tensor:
        """Pixels in 0 to 1, averaged down to at most 32 x 32: uint8 [B, C, H, W] -> [B, P]."""
        height, width = inputs.shape[2:]
        sides = min(height, _BASELINE_SIDE), min(width, _BASELINE_SIDE)
        pooled = F.adaptive_avg_pool2d(inputs.float() / 255, sides)
        return rearrange(pooled, "b c h w -> b (c h w)")
