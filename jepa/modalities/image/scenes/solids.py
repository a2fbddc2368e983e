"""Three convex solids on a plane: where lines meet them, which way their surface faces.

World: x to the right, y away from the camera, z up; the plane is z = 0. Solids stand on it and
turn about their upright axis.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

Point = tuple[float, float, float]
Vectors = Sequence[Any] | np.ndarray
"""x, y and z, each a number or an array; arrays broadcast."""

_TINY = 1e-9  # a line along a face still has a finite distance to it


class Shape(enum.IntEnum):
    """The solids, as they are numbered in labels."""

    CUBE = 0
    SPHERE = 1
    CYLINDER = 2


# Sides that make the three look equally large, as shares of the solid's size.
_HALF = {Shape.CUBE: 0.8, Shape.SPHERE: 1.0, Shape.CYLINDER: 0.87}
_FOOTPRINT = {Shape.CUBE: math.sqrt(2), Shape.SPHERE: 1.0, Shape.CYLINDER: 1.0}
_AROUND = {Shape.CUBE: math.sqrt(3), Shape.SPHERE: 1.0, Shape.CYLINDER: math.sqrt(2)}


@attrs.frozen
class Solid:
    """One object.

    Args:
        shape: which solid.
        size: radius of the sphere; the others are somewhat narrower, so that they look as large.
        x: of its centre.
        y: of its centre.
        angle: turn about the upright axis, in radians.
        colour: number of its colour.
        metal: shining, or matt.
    """

    shape: Shape
    size: float
    x: float
    y: float
    angle: float
    colour: int
    metal: bool

    @property
    def half(self) -> float:
        """Half of its height and width; its centre stands so high."""
        return _HALF[self.shape] * self.size

    def crossing(self, origin: Vectors, direction: Vectors) -> np.ndarray:
        """Where lines enter the solid, in multiples of their direction; inf where they miss it.

        Lines may start inside or behind; then the distance is below zero.
        """
        h = self.half
        ox, oy, oz = origin[0] - self.x, origin[1] - self.y, origin[2] - h
        dx, dy, dz = direction
        if self.shape is Shape.SPHERE:
            flat = ox * dx + oy * dy + oz * dz
            enter, leave = _roots(dx * dx + dy * dy + dz * dz, flat, ox * ox + oy * oy + oz * oz, h)
            return np.where(enter < leave, enter, np.inf)
        low, high = _slab(oz, dz, h)
        if self.shape is Shape.CYLINDER:
            bounds = [_roots(dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy, h)]
        else:
            cos, sin = math.cos(self.angle), math.sin(self.angle)
            bounds = [
                _slab(cos * ox + sin * oy, cos * dx + sin * dy, h),
                _slab(cos * oy - sin * ox, cos * dy - sin * dx, h),
            ]
        for enter, leave in bounds:
            low, high = np.maximum(low, enter), np.minimum(high, leave)
        return np.where(low < high, low, np.inf)

    def normals(self, points: np.ndarray) -> np.ndarray:
        """Which way the surface faces at points on it: [3, n] -> unit vectors [3, n]."""
        h = self.half
        local: np.ndarray = points - np.array([[self.x], [self.y], [h]], dtype=points.dtype)
        if self.shape is Shape.SPHERE:
            ball: np.ndarray = local / np.float32(h)
            return ball
        x, y, z = local
        if self.shape is Shape.CYLINDER:
            radius = np.sqrt(x * x + y * y)
            top = z > radius
            up = np.where(top, 1, 0)
            return np.stack([np.where(top, 0, x / radius), np.where(top, 0, y / radius), up])
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        a, b = cos * x + sin * y, cos * y - sin * x
        face = np.argmax(np.abs(np.stack([a, b, z])), axis=0)
        a, b = (np.where(face == axis, np.sign(side), 0) for axis, side in ((0, a), (1, b)))
        return np.stack([cos * a - sin * b, sin * a + cos * b, np.where(face == 2, 1, 0)])

    def distance(self, point: Point) -> float:
        """From a point outside to the nearest of the solid's surface."""
        h = self.half
        x, y, z = point[0] - self.x, point[1] - self.y, point[2] - h
        if self.shape is Shape.SPHERE:
            return math.hypot(x, y, z) - h
        above = max(abs(z) - h, 0.0)
        if self.shape is Shape.CYLINDER:
            return math.hypot(max(math.hypot(x, y) - h, 0.0), above)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        sides = (max(abs(s) - h, 0.0) for s in (cos * x + sin * y, cos * y - sin * x))
        return math.hypot(*sides, above)


def half_of(shapes: np.ndarray) -> np.ndarray:
    """Half height of solids of size 1: any shape of `Shape` -> the same of float."""
    return np.array([_HALF[shape] for shape in Shape]).take(shapes)


def footprint_of(shapes: np.ndarray) -> np.ndarray:
    """Radius of the circle on the plane that holds a solid of size 1, whatever its turn."""
    return np.array([_HALF[shape] * _FOOTPRINT[shape] for shape in Shape]).take(shapes)


def around_of(shapes: np.ndarray) -> np.ndarray:
    """Radius of the ball that holds a solid of size 1."""
    return np.array([_HALF[shape] * _AROUND[shape] for shape in Shape]).take(shapes)


def _slab(origin: Any, direction: Any, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Where lines enter and leave -half <= x <= half."""
    inverse = 1 / np.where(np.abs(direction) < _TINY, _TINY, direction)
    middle, reach = -origin * inverse, np.abs(half * inverse)
    return middle - reach, middle + reach


def _roots(a: Any, b: Any, c: Any, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a t^2 + 2 b t + c <= radius^2 begins and ends; equal where it never holds."""
    a = np.where(a < _TINY, _TINY, a)
    root = np.sqrt(np.maximum(b * b - a * (c - radius * radius), 0))
    return (-b - root) / a, (-b + root) / a
