"""A camera above the plane that looks at it aslant."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import attrs
import numpy as np

from jepa.modalities.image.scenes.solids import Point

TANGENT = 0.36
"""Of half the angle of view, in both directions."""


class Rays(NamedTuple):
    """Lines through the centres of pixels, each one unit long along the camera's axis.

    Attributes:
        x: [1, R], the same in each row.
        y: [R, 1], the same in each column.
        z: [R, 1], below zero: the camera sees no horizon.
        length: [R, R] of the lines.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    length: np.ndarray


@attrs.frozen
class Camera:
    """Where the camera stands: at `distance` from a point near the middle of the plane.

    Args:
        distance: from the point that it looks at, in world units.
        tilt: angle between its axis and the plane, in radians.
        x: of the point that it looks at.
        y: of the point that it looks at.
    """

    distance: float
    tilt: float
    x: float
    y: float

    @property
    def place(self) -> Point:
        """Where it is."""
        back = self.distance * math.cos(self.tilt)
        return self.x, self.y - back, self.distance * math.sin(self.tilt)

    def rays(self, resolution: int) -> Rays:
        """One line a pixel of a picture of so many pixels a side, the top row first."""
        across, length = _frame(resolution)
        up = -across[:, None]
        cos, sin = np.float32(math.cos(self.tilt)), np.float32(math.sin(self.tilt))
        return Rays(across[None], cos + sin * up, cos * up - sin, length)

    def bounds(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, radius: np.ndarray) -> np.ndarray:
        """The rectangles that balls fill in the picture.

        Args:
            x: of the centres, any shape; so are `y`, `z`.
            y: of the centres.
            z: of the centres.
            radius: of the balls.

        Returns:
            Left, top, right, bottom, [4, ...]; the picture is 0 to 1 both ways.
        """
        eye = self.place
        cos, sin = math.cos(self.tilt), math.sin(self.tilt)
        x, y, z = x - eye[0], y - eye[1], z - eye[2]
        depth, down = cos * y - sin * z, -(sin * y + cos * z)
        sides = []
        for offset in (x, down):
            middle = np.arctan2(offset, depth)
            reach = np.arcsin(radius / np.hypot(offset, depth))
            sides.append((np.tan(middle - reach), np.tan(middle + reach)))
        (left, right), (top, bottom) = sides
        return np.stack([left, top, right, bottom]) / (2 * TANGENT) + 0.5


@lru_cache(maxsize=8)
def _frame(resolution: int) -> tuple[np.ndarray, np.ndarray]:
    """Tangents [R] from left to right, and lengths [R, R], for any camera."""
    across = ((np.arange(resolution) + 0.5) / resolution * 2 - 1) * TANGENT
    length = np.sqrt(1 + across[None] ** 2 + across[:, None] ** 2)
    return across.astype(np.float32), length.astype(np.float32)
