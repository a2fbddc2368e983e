"""A scene as a picture: light, shadow, material.

All light is linear; the picture is its mean over the samples of a pixel, to the power 1 / 2.2.
The sky is bright overhead and dark at its edge; a metal mirrors it.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from jepa.modalities.image.scenes.cast import Seen, Window, cast, windows
from jepa.modalities.image.scenes.layout import Scene
from jepa.modalities.image.scenes.palette import ALBEDO, GAMMA, PLANE_ALBEDO
from jepa.modalities.image.scenes.solids import Solid, around_of

_SAMPLES = 2  # a side of a pixel
_WITHIN = tuple(product(range(_SAMPLES), repeat=2))
_SUN = 0.85
_AMBIENT = 0.3
_MATT_SHINE, _MATT_WIDTH = 0.05, 12
_METAL_SHINE, _METAL_WIDTH = 1.6, 60
_METAL_MIRROR = 0.75


def render(scene: Scene, size: int) -> np.ndarray:
    """The picture of a scene: uint8 [size, size, 3], RGB."""
    resolution = _SAMPLES * size
    seen = cast(scene.camera, scene.solids, resolution)
    points = _points(scene, seen, resolution)
    lit = np.ones((resolution, resolution), dtype=bool)
    for number, window in enumerate(_shadows(scene, resolution)):
        _shade(scene, number, window, seen, points, lit)
    light = _plane(scene, lit, points)
    for number, (solid, window) in enumerate(zip(scene.solids, seen.windows, strict=True)):
        mine = seen.ids[window] == number
        where = points[(slice(None), *window)][:, mine]
        light[window][mine] = _surface(scene, solid, where, lit[window][mine])
    mean = sum(light[a::_SAMPLES, b::_SAMPLES] for a, b in _WITHIN) / len(_WITHIN)
    picture: np.ndarray = np.rint(255 * np.minimum(mean, 1) ** (1 / GAMMA))
    return picture.astype(np.uint8)


def _points(scene: Scene, seen: Seen, resolution: int) -> np.ndarray:
    """Where each sample's line ends, in the world: [3, R, R]."""
    rays = scene.camera.rays(resolution)
    points = np.empty((3, resolution, resolution), dtype=np.float32)
    for axis, (part, start) in enumerate(zip(rays[:3], scene.camera.place, strict=True)):
        np.multiply(seen.depth, part, out=points[axis])
        points[axis] += start
    return points


def _shadows(scene: Scene, resolution: int) -> tuple[Window, ...]:
    """For each object, the pixels that may see a place that it keeps dark."""
    shapes = np.array([solid.shape for solid in scene.solids])
    x, y, half, size = np.array([[s.x, s.y, s.half, s.size] for s in scene.solids]).T
    radius = around_of(shapes) * size
    light = scene.light
    away = half / light[2]  # along the light, from the centre to the plane
    # A ball around the object, and one around its shadow on the plane: all else lies between.
    both = scene.camera.bounds(
        np.stack([x, x - away * light[0]]),
        np.stack([y, y - away * light[1]]),
        np.stack([half, np.zeros_like(half)]),
        np.stack([radius, radius / light[2]]),
    )
    return windows(np.concatenate([both[:2].min(1), both[2:].max(1)]), resolution)


def _shade(
    scene: Scene, number: int, window: Window, seen: Seen, points: np.ndarray, lit: np.ndarray
) -> None:
    """Darken what lies in the shadow of one object, itself excepted: its normals know."""
    light = [np.float32(part) for part in scene.light]
    ahead = scene.solids[number].crossing(points[(slice(None), *window)], light)
    lit[window] &= ~((ahead > 0) & (ahead < np.inf) & (seen.ids[window] != number))


def _plane(scene: Scene, lit: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Light from the plane, as if it were all that is seen: [R, R, 3]."""
    fall = 1 / (1 + 0.006 * (points[0] ** 2 + points[1] ** 2))  # the sun is a lamp after all
    strength = (_AMBIENT + np.float32(_SUN * scene.light[2]) * lit) * fall
    light: np.ndarray = strength[..., None] * PLANE_ALBEDO
    return light


def _surface(scene: Scene, solid: Solid, points: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Light from points of an object's surface: [3, n] -> [n, 3]."""
    normals = solid.normals(points).astype(np.float32)
    towards = np.array(scene.camera.place, dtype=np.float32)[:, None] - points
    towards /= np.sqrt((towards * towards).sum(0))
    facing = (normals * towards).sum(0)
    mirrored = 2 * facing * normals - towards
    sun = np.array(scene.light, dtype=np.float32)
    direct = np.maximum(sun @ normals, 0) * lit
    glance = np.maximum(sun @ mirrored, 0)
    around = _AMBIENT * (0.65 + 0.35 * normals[2])
    albedo = ALBEDO[solid.colour]
    if not solid.metal:
        shine = _MATT_SHINE * glance**_MATT_WIDTH * lit
        strength = around + _SUN * direct
    else:
        up = mirrored[2]
        sky = np.where(up > 0, 0.1 + 1.9 * up**2, 0.1 - 0.35 * up)  # below: the plane
        strength = 0.5 * around + 0.3 * _SUN * direct + _METAL_MIRROR * sky
        shine = _METAL_SHINE * glance**_METAL_WIDTH * lit
    light: np.ndarray = strength[:, None] * albedo + shine[:, None]
    return light
