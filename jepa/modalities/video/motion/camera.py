"""A camera that pans, zooms and turns over a photograph.

Letters: F frames, [H, W] a frame, h and w the sides of a photograph. All lengths are pixels of a
frame or of a photograph, as said.
"""

from __future__ import annotations

import enum
import functools
import math

import attrs
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

_NEARER = 0.8
"""The closest window, as a share of the widest. Windows differ in size, or a photograph that is
seen twice would look the same twice."""
_FINER = 2
"""Rays a side of each pixel of a frame, averaged where a window is finer than its frame."""


class Move(enum.IntEnum):
    """What the camera does; what is seen goes the other way."""

    PAN_LEFT = 0
    PAN_RIGHT = 1
    PAN_UP = 2
    PAN_DOWN = 3
    ZOOM_IN = 4
    ZOOM_OUT = 5
    TURN_LEFT = 6
    TURN_RIGHT = 7


_PANS = {
    Move.PAN_LEFT: (0.0, -1.0),
    Move.PAN_RIGHT: (0.0, 1.0),
    Move.PAN_UP: (-1.0, 0.0),
    Move.PAN_DOWN: (1.0, 0.0),
}
"""Direction (y, x) of a pan."""


@attrs.frozen
class Camera:
    """Sides and length of clips, and the fastest move that their windows leave room for.

    Args:
        frames: of a clip, F.
        size: height and width of a frame.
        fastest: greatest speed, as a share of a frame's shorter side, a frame.
    """

    frames: int
    size: tuple[int, int]
    fastest: float

    @property
    def half(self) -> float:
        """Steps from the middle of a clip to its end."""
        return (self.frames - 1) / 2

    @property
    def reach(self) -> float:
        """Mean distance of a pixel from the middle of its frame, in pixels of a frame."""
        return _reach(self.size)

    def rate(self, speed: float) -> float:
        """How fast a zoom (in e-folds a frame) or a turn (in radians a frame) is, for a speed.

        The mean pixel then moves as far as all do in a pan of this speed.
        """
        return speed * min(self.size) / self.reach

    @property
    def room(self) -> tuple[float, float]:
        """Height and width that hold a whole clip of any move, in pixels of its middle frame."""
        height, width = self.size
        pan = 2 * self.half * self.fastest * min(self.size)
        turn = self.rate(self.fastest) * self.half
        zoom = math.exp(turn)
        c, s = math.cos(turn), math.sin(turn)
        return (
            max(height + pan, height * zoom, height * c + width * s),
            max(width + pan, width * zoom, height * s + width * c),
        )


@functools.lru_cache(maxsize=4)
def _reach(size: tuple[int, int]) -> float:
    y, x = (torch.arange(side) + 0.5 - side / 2 for side in size)
    return float(torch.hypot(y[:, None], x[None]).mean())


@attrs.frozen
class Shot:
    """One clip: what the camera does, how fast, and where it is in the middle of the clip.

    Args:
        move: what it does.
        speed: mean way of a pixel from frame to frame, as a share of a frame's shorter side.
        scale: pixels of the photograph to one of the middle frame.
        center: of the window in the middle of the clip (y, x), in pixels of the photograph.
    """

    move: Move
    speed: float
    scale: float
    center: tuple[float, float]


def aim(
    camera: Camera, photograph: tuple[int, int], move: Move, speed: float, draws: tuple[float, ...]
) -> Shot:
    """Where a camera looks in the middle of a clip; whatever it does, it stays on the photograph.

    Place and size of the middle window depend on nothing but the draws, so that a still from there
    tells neither move nor speed.

    Args:
        camera: what is filmed with.
        photograph: its sides, h and w.
        move: what the camera does.
        speed: how fast, at most `camera.fastest`.
        draws: three uniforms in [0, 1): for the size of the window, and its place (y, x).
    """
    height, width = camera.room
    widest = min(photograph[0] / height, photograph[1] / width)
    scale = widest * (_NEARER + (1 - _NEARER) * draws[0])
    y, x = (
        side * scale / 2 + draw * (whole - side * scale)
        for side, whole, draw in zip((height, width), photograph, draws[1:], strict=True)
    )
    return Shot(move, speed, scale, (y, x))


def shoot(camera: Camera, photograph: Tensor, shot: Shot) -> Tensor:
    """Film it: uint8 [3, h, w] -> uint8 [F, H, W, 3]."""
    pixels, shrunk = _shrunk(photograph, shot.scale)
    # By the fastest zoom, or a still would tell something of the speed.
    finer = 1 if shot.scale * math.exp(camera.rate(camera.fastest) * camera.half) <= 1 else _FINER
    points = _rays(camera, shot, finer) / torch.tensor(shrunk)  # [F, H', W', 2] as (y, x)
    sides = torch.tensor(pixels.shape[1:], dtype=torch.float32)
    grid = (2 * points / sides - 1).flip(-1)
    seen = F.grid_sample(
        pixels[None].expand(camera.frames, -1, -1, -1),
        grid,
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    averaged = F.avg_pool2d(seen, finer)
    return rearrange(averaged.round().clamp(0, 255).to(torch.uint8), "F C H W -> F H W C")


def _shrunk(photograph: Tensor, scale: float) -> tuple[Tensor, tuple[float, float]]:
    """A photograph that is finer than the rays, made as fine as they: float32 [3, h', w'].

    Also by how much (y, x), which whole pixels make slightly different.
    """
    pixels = photograph.float()
    h, w = photograph.shape[1:]
    finer = scale / _FINER
    if finer <= 1:
        return pixels, (1.0, 1.0)
    smaller = max(1, round(h / finer)), max(1, round(w / finer))
    found = F.interpolate(pixels[None], smaller, mode="bilinear", antialias=True)[0]
    return found, (h / smaller[0], w / smaller[1])


def _rays(camera: Camera, shot: Shot, finer: int) -> Tensor:
    """Where the rays of each frame meet the photograph: [F, finer H, finer W, 2] as (y, x)."""
    height, width = camera.size
    y, x = (
        (torch.arange(side * finer, dtype=torch.float32) + 0.5) / finer - side / 2
        for side in (height, width)
    )
    plane = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)
    times = torch.arange(camera.frames, dtype=torch.float32) - camera.half
    frames = _moved(plane, camera, shot, rearrange(times, "F -> F 1 1"))
    return frames * shot.scale + torch.tensor(shot.center)


def _moved(plane: Tensor, camera: Camera, shot: Shot, times: Tensor) -> Tensor:
    """The rays [F, .., 2] around the middle of the middle frame, in its pixels.

    Args:
        plane: those of the middle frame, [.., 2] as (y, x).
        times: frames since then, [F, 1, 1].
    """
    y, x = plane.unbind(-1)
    if shot.move in _PANS:
        down, right = (way * shot.speed * min(camera.size) for way in _PANS[shot.move])
        return torch.stack([y + down * times, x + right * times], dim=-1)
    angles = camera.rate(shot.speed) * times
    if shot.move is Move.ZOOM_IN:
        return plane * torch.exp(-angles)[..., None]
    if shot.move is Move.ZOOM_OUT:
        return plane * torch.exp(angles)[..., None]
    if shot.move is Move.TURN_LEFT:
        angles = -angles
    # y goes down, so this turns the camera to the right for angles above zero.
    c, s = torch.cos(angles), torch.sin(angles)
    return torch.stack([c * y + s * x, c * x - s * y], dim=-1)
