"""Films: clips [3, T, H, W] on a grid (t, y, x).

Letters besides those of `jepa.core.tokens`: T frames of a clip, H and W sides of a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, final

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from jepa.core.channels import IMAGENET_MEAN, IMAGENET_STD, Normalize
from jepa.core.crop import Box, random_box, resize
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content, Modality
from jepa.core.rng import SampleRng
from jepa.core.settings import check, positive, positive_range, scale_range
from jepa.modalities.video.files import EXTENSIONS
from jepa.modalities.video.film import Film, Frame
from jepa.modalities.video.opening import open_film
from jepa.modalities.video.pick import Rhythm, Short, pick

_BASELINE_FRAMES, _BASELINE_SIDE = 8, 8
_HALF = 0.5

Colours = tuple[float, float, float]

_part_of_one = check("above 0, at most 1", lambda v: 0 < v <= 1)
_sides = check("two sides of at least 1 pixel", lambda v: min(v) >= 1)
_above_zero = check("three numbers above 0", lambda v: min(v) > 0)


@final
class VideoModality(Modality):
    """Clips as uint8 [3, T, H, W]: any place of the film to train, its middle to evaluate.

    The training transform is V-JEPA's: one random resized crop for the whole clip, and a flip.
    Normalisation happens on the device.
    """

    extensions = EXTENSIONS
    takes_stretches = True

    @attrs.frozen(kw_only=True)
    class Config:
        """Length and rhythm of a clip, size, cropping and colours."""

        frames: int = attrs.field(default=16, validator=positive)
        """Frames of a clip, T."""
        stride: int = attrs.field(default=4, validator=positive)
        """Every so many frames one is taken."""
        fps: float | None = attrs.field(default=None, validator=positive)
        """Frames a second that `stride` counts, whatever the file's rate, by the times at which
        frames are shown; null: the frames of the file, whatever their times."""
        array_fps: float | None = attrs.field(default=None, validator=positive)
        """Frames a second of samples that are arrays or folders of frames; null: `fps`."""
        short: Short = "hold"
        """Films shorter than a clip: the last frame stands, or the film begins again (`loop`)."""
        size: tuple[int, int] = attrs.field(default=(224, 224), validator=_sides)
        """Height and width in pixels."""
        crop_scale: tuple[float, float] = attrs.field(default=(0.3, 1.0), validator=scale_range)
        """Share of a frame's area that a training crop has, from and to."""
        crop_ratio: tuple[float, float] = attrs.field(
            default=(0.75, 1.35), validator=positive_range
        )
        """Width over height of a training crop, from and to."""
        flip: bool = True
        """Half of the training clips are mirrored, left to right. False where sides matter."""
        eval_crop: float = attrs.field(default=0.875, validator=_part_of_one)
        """Share of the shorter side that evaluation keeps; 1: all of it, for tiny frames."""
        mean: Colours = IMAGENET_MEAN
        """A channel's mean, of values in 0 to 1."""
        std: Colours = attrs.field(default=IMAGENET_STD, validator=_above_zero)
        """A channel's standard deviation."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        """V-JEPA's parts at the size of ViT-B/16: two views of tubes, L1, a token a view."""
        tube = {"name": "tube", "through": ["t"], "target_aspect": [0.75, 1.5]}
        return {
            "data": {"source": {"name": "folder"}},
            "model": {
                "tokenizer": {"name": "patch", "size": [2, 16, 16]},
                "encoder": {"name": "vit", "preset": "base"},
                "predictor": {
                    "name": "vit",
                    "depth": 12,
                    "dim": 384,
                    "token_a_view": True,
                    "token_std": 0.0,
                },
                "target": {"name": "ema", "start": 0.998, "end": 1.0},
                "objective": {"name": "l1"},
            },
            "masks": [
                {**tube, "num_targets": 8, "target_scale": [0.15, 0.15]},
                {**tube, "num_targets": 2, "target_scale": [0.7, 0.7]},
            ],
            "observers": [
                {"name": name} for name in ("progress", "jsonl", "tensorboard", "health")
            ],
        }

    @property
    def spec(self) -> InputSpec:
        """[3, T, H, W] on the axes (t, y, x)."""
        return InputSpec((3, self.config.frames, *self.config.size), ("t", "y", "x"))

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """A clip from a random place, cropped and perhaps mirrored: uint8 [3, T, H, W]."""
        config = self.config
        place, mirror = rng.uniforms(2).tolist()

        def box(height: int, width: int) -> Box:
            return random_box(height, width, config.crop_scale, config.crop_ratio, rng)

        clip = self._clip(content, place, box)
        return clip.flip(3) if config.flip and mirror < _HALF else clip

    def eval_input(self, content: Content) -> Tensor:
        """The middle of the film, of each frame the centre: uint8 [3, T, H, W]."""
        config = self.config

        def box(height: int, width: int) -> Box:
            return central_box(height, width, config.size, config.eval_crop)

        return self._clip(content, None, box)

    def _clip(
        self, content: Content, place: float | None, box_of: Callable[[int, int], Box]
    ) -> Tensor:
        """Frames of a film: uint8 [3, T, H, W]. Only one frame at a time has its full size.

        Args:
            content: of the film.
            place: see `pick`.
            box_of: from height and width of the frames to the part that is seen of them all.
        """
        clip = torch.empty(self.spec.loaded, dtype=torch.uint8)
        film = open_film(content)
        picked = torch.tensor(self._pick(film, place))
        box: Box | None = None
        for number, colours in film.frames(sorted(set(picked.tolist()))):
            box = box or box_of(*colours.shape[:2])
            part = colours[box.top : box.top + box.height, box.left : box.left + box.width]
            seen = resize(_tensor(part), *self.config.size, "bilinear")
            clip[:, picked == number] = rearrange(seen, "c h w -> c 1 h w")
        return clip

    def _pick(self, film: Film, place: float | None) -> list[int]:
        """Places of T frames of a film."""
        config = self.config
        if config.fps is None:
            times, step = np.arange(film.length, dtype=np.float64), float(config.stride)
        else:
            step = config.stride / config.fps
            rate = config.array_fps or config.fps
            known = film.times
            times = np.arange(film.length) / rate if known is None else known
        return pick(times, Rhythm(config.frames, step, config.short), place)

    def device_transform(self) -> nn.Module:
        """uint8 [B, 3, T, H, W] -> normalised float32 [B, 3, T, H, W]."""
        return Normalize(self.config.mean, self.config.std, axes=3)

    def preview(self, inputs: Tensor) -> Tensor:
        """Film strips, frames side by side: uint8 [B, 3, T, H, W] -> uint8 [B, H, T W, 3]."""
        return rearrange(inputs, "b c t h w -> b h (t w) c")

    def baseline(self, inputs: Tensor) -> Tensor:
        """Colours in 0 to 1, averaged to at most 8 frames of 8 x 8: [B, 3, T, H, W] -> [B, P]."""
        most = (_BASELINE_FRAMES, _BASELINE_SIDE, _BASELINE_SIDE)
        t, h, w = (min(side, limit) for side, limit in zip(inputs.shape[2:], most, strict=True))
        pooled = F.adaptive_avg_pool3d(inputs.float() / 255, (t, h, w))
        return rearrange(pooled, "b c t h w -> b (c t h w)")


def central_box(height: int, width: int, size: tuple[int, int], share: float) -> Box:
    """The central part of a frame in the aspect of `size`: a share of the largest there is."""
    scale = share * min(height / size[0], width / size[1])
    h, w = (max(1, round(side * scale)) for side in size)
    return Box((height - h) // 2, (width - w) // 2, h, w)


def _tensor(frame: Frame) -> Tensor:
    """[h, w, 3] -> [3, h, w]."""
    plain = np.require(frame, requirements=["C", "W"])  # as torch wants it
    return rearrange(torch.from_numpy(plain), "h w c -> c h w")
