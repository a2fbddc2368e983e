"""Draws of objects and of places for them on the plane."""

from __future__ import annotations

import math

import numpy as np

from jepa.core.rng import SampleRng
from jepa.modalities.image.scenes.camera import Camera
from jepa.modalities.image.scenes.solids import (
    Shape,
    Solid,
    around_of,
    footprint_of,
    half_of,
)

SIZES = (0.5, 0.76)
"""Small and large, in world units."""
GAP = 0.2
"""Between the circles on the plane that hold two objects, at least, in world units."""
CAPACITY = 12
"""Objects that have places where none can hide another."""
_FLOOR = ((-3.3, 3.3), (-3.2, 4.6))
_MARGIN = 0.02
"""Free border of the picture, as a share of its side."""
_COVER = 0.3
"""Share of one object's rectangle that one nearer object may cover."""
_CANDIDATES = 24
_COLUMNS = (-1.6, 0.0, 1.6)
_ROWS = (-2.4, -0.3, 1.9, 4.2)
_JITTER = 0.1  # of places in rows


def throw(rng: SampleRng, camera: Camera, count: int) -> list[Solid] | None:
    """Objects one after the other, each where it keeps its distance from those before it.

    Returns:
        The objects, without colours; None where one found no place.
    """
    shapes, sizes, angles, metals = _kinds(rng, count)
    order = np.argsort(-sizes, kind="stable")  # the large ones first, while there is room
    shapes, sizes, angles, metals = shapes[order], sizes[order], angles[order], metals[order]
    drawn = rng.uniforms(2 * count * _CANDIDATES).reshape(2, count, _CANDIDATES)
    x, y = (low + (high - low) * u for (low, high), u in zip(_FLOOR, drawn, strict=True))
    foot = footprint_of(shapes) * sizes
    around = np.broadcast_to((around_of(shapes) * sizes)[:, None], x.shape)
    z = np.broadcast_to((half_of(shapes) * sizes)[:, None], x.shape)
    bounds = camera.bounds(x, y, z, around)
    inside = np.all((bounds[:2] >= _MARGIN) & (bounds[2:] <= 1 - _MARGIN), axis=0)
    chosen: list[int] = []
    for number in range(count):
        free = inside[number]
        if number:
            before = np.arange(number), np.array(chosen)
            apart = np.hypot(
                x[number][:, None] - x[before][None], y[number][:, None] - y[before][None]
            )
            free = free & np.all(apart >= foot[number] + foot[:number] + GAP, axis=1)
            covered = _cover(bounds[:, number, :, None], bounds[:, before[0], before[1]][:, None])
            free &= np.all(covered <= _COVER, axis=1)
        place = int(free.argmax())
        if not free[place]:
            return None
        chosen.append(place)
    where = np.arange(count), np.array(chosen)
    return _solids(shapes, sizes, x[where], y[where], angles, metals)


def rows(rng: SampleRng, count: int) -> list[Solid]:
    """Small objects in rows and columns, at most CAPACITY."""
    shapes, _, angles, metals = _kinds(rng, count)
    cells = np.argsort(rng.uniforms(CAPACITY))[:count]
    row, column = np.divmod(cells, len(_COLUMNS))
    jitter = _JITTER * (2 * rng.uniforms(2 * count).reshape(2, count) - 1)
    x, y = np.array(_COLUMNS)[column] + jitter[0], np.array(_ROWS)[row] + jitter[1]
    return _solids(shapes, np.full(count, SIZES[0]), x, y, angles, metals)


def _kinds(rng: SampleRng, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shapes, sizes, angles and whether they shine, each [n]."""
    u = rng.uniforms(4 * count).reshape(4, count)
    shapes = (u[0] * len(Shape)).astype(int)
    return shapes, np.array(SIZES)[(u[1] * len(SIZES)).astype(int)], u[2] * math.pi, u[3] < 0.5


def _cover(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The share of the farther of two rectangles [4, ...] that the nearer one covers.

    The one whose lower side is higher up in the picture stands farther away.
    """
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = sides.clip(min=0).prod(0)
    farther = np.where(a[3] < b[3], (a[2:] - a[:2]).prod(0), (b[2:] - b[:2]).prod(0))
    return np.asarray(common / farther)


def _solids(
    shapes: np.ndarray,
    sizes: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    angles: np.ndarray,
    metals: np.ndarray,
) -> list[Solid]:
    columns = (shapes, sizes, x, y, angles, metals)
    return [
        Solid(Shape(shape), size, x, y, angle, 0, metal)
        for shape, size, x, y, angle, metal in zip(*(c.tolist() for c in columns), strict=True)
    ]
