"""Which object each pixel sees, and how far away it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jepa.modalities.image.scenes.camera import Camera, Rays
from jepa.modalities.image.scenes.solids import Solid, around_of

PLANE = -1


class Window(NamedTuple):
    """A rectangle of pixels."""

    rows: slice
    columns: slice

    def of(self, rays: Rays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z of the lines through it."""
        return rays.x[:, self.columns], rays.y[self.rows], rays.z[self.rows]


class Seen(NamedTuple):
    """What the camera sees of n objects.

    Attributes:
        ids: [R, R] int8, the number of the object, or PLANE.
        depth: [R, R] float32 along the camera's axis, in world units.
        whole: [n] int64, pixels of each object as if it stood alone.
        windows: n of them, one around each object.
    """

    ids: np.ndarray
    depth: np.ndarray
    whole: np.ndarray
    windows: tuple[Window, ...]


def windows(bounds: np.ndarray, resolution: int) -> tuple[Window, ...]:
    """Pixels that touch rectangles of the picture: [4, n] as `Camera.bounds` gives them."""
    low = np.clip(np.floor(bounds[:2] * resolution), 0, resolution).astype(int).tolist()
    high = np.clip(np.ceil(bounds[2:] * resolution), 0, resolution).astype(int).tolist()
    return tuple(
        Window(slice(top, bottom), slice(left, right))
        for left, top, right, bottom in zip(*low, *high, strict=True)
    )


def cast(camera: Camera, solids: Sequence[Solid], resolution: int) -> Seen:
    """Look once through each pixel of a picture with `resolution` pixels a side."""
    rays = camera.rays(resolution)
    eye = camera.place
    depth = np.repeat(np.float32(-eye[2]) / rays.z, resolution, axis=1)
    ids = np.full((resolution, resolution), PLANE, dtype=np.int8)
    around = windows(bounds_of(camera, solids), resolution)
    whole = np.zeros(len(solids), dtype=np.int64)
    for number, (solid, window) in enumerate(zip(solids, around, strict=True)):
        distance = solid.crossing(eye, window.of(rays))
        whole[number] = np.count_nonzero(distance < np.inf)
        nearer = distance < depth[window]
        np.copyto(depth[window], distance, where=nearer)
        np.copyto(ids[window], number, where=nearer)
    return Seen(ids, depth, whole, around)


def bounds_of(camera: Camera, solids: Sequence[Solid]) -> np.ndarray:
    """The rectangles of the picture that hold each of n objects: [4, n]."""
    shapes = np.array([solid.shape for solid in solids])
    x, y, half, size = np.array([[s.x, s.y, s.half, s.size] for s in solids]).T
    return camera.bounds(x, y, half, around_of(shapes) * size)
