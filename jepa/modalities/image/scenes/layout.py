"""What stands where: a scene as a function of (seed, split, index).

Visibility is judged on a picture of fixed size, so that labels do not depend on the size that is
rendered.
"""

from __future__ import annotations

import math

import attrs
import numpy as np

from jepa.core.rng import SampleRng, Stream
from jepa.modalities.image.scenes import places
from jepa.modalities.image.scenes.camera import Camera
from jepa.modalities.image.scenes.cast import PLANE, Seen, cast
from jepa.modalities.image.scenes.palette import COLOURS
from jepa.modalities.image.scenes.solids import Point, Solid

JUDGED = 64
"""Pixels a side of the picture on which visibility is judged."""
MIN_PIXELS = 20
"""Pixels of it that each object keeps at least."""
MIN_SHARE = 0.6
"""Share of its outline that each object keeps at least, whatever stands before it."""
_TRIES = 30
"""Layouts that are drawn before the objects go to places where none can hide another."""
_APART = 2
"""Objects whose outlines come so near, in pixels of the judged picture, differ in colour."""


@attrs.frozen
class Scene:
    """All that a picture is made of.

    Args:
        camera: who looks.
        light: where it comes from, a unit vector.
        solids: the objects, the large ones first; no more is meant by their order.
        shown: share of each object's outline that is seen.
    """

    camera: Camera
    light: Point
    solids: tuple[Solid, ...]
    shown: tuple[float, ...]

    def distances(self) -> list[float]:
        """From the camera to the nearest point of each object."""
        return [solid.distance(self.camera.place) for solid in self.solids]


def draw(seed: int, split: int, index: int, fewest: int, most: int) -> Scene:
    """The scene of one sample; its number of objects is uniform from `fewest` to `most`."""
    rng = SampleRng(seed, split, index, Stream.SAMPLES)
    u = rng.uniforms(7).tolist()
    count = fewest + int(u[0] * (most - fewest + 1))
    camera = Camera(
        distance=10.5 + u[1],
        tilt=math.radians(37 + 8 * u[2]),
        x=0.4 * (u[3] - 0.5),
        y=0.5 + 0.4 * (u[4] - 0.5),
    )
    # From behind the camera or from its sides: faces that it sees are lit.
    azimuth, height = math.radians(160 * (u[5] - 0.5)), math.radians(45 + 20 * u[6])
    light = (
        math.sin(azimuth) * math.cos(height),
        -math.cos(azimuth) * math.cos(height),
        math.sin(height),
    )
    for _ in range(_TRIES):
        solids = places.throw(rng, camera, count)
        if solids is None:
            continue
        found = _judged(rng, camera, solids)
        if found is not None:
            return Scene(camera, light, *found)
    # Rows and columns far enough apart: tests show that this cannot fail.
    found = _judged(rng, camera, places.rows(rng, count))
    assert found is not None
    return Scene(camera, light, *found)


def _judged(
    rng: SampleRng, camera: Camera, solids: list[Solid]
) -> tuple[tuple[Solid, ...], tuple[float, ...]] | None:
    """The solids with colours, and how much of each is seen; None where too little is."""
    seen = cast(camera, solids, JUDGED)
    visible = np.bincount(seen.ids[seen.ids != PLANE], minlength=len(solids))
    if visible.min() < MIN_PIXELS or (visible < MIN_SHARE * seen.whole).any():
        return None
    colours = _colours(rng, _neighbours(seen, len(solids)))
    if colours is None:
        return None
    coloured = [attrs.evolve(s, colour=c) for s, c in zip(solids, colours, strict=True)]
    return tuple(coloured), tuple((visible / seen.whole).tolist())


def _neighbours(seen: Seen, count: int) -> np.ndarray:
    """Which objects come near each other in the picture: [n, n] bool."""
    near = np.zeros((count + 1, count + 1), dtype=bool)  # the last place is the plane's
    for down, across in ((1, 0), (0, 1), (_APART, 0), (0, _APART), (1, 1)):
        near[seen.ids[down:, across:], seen.ids[: JUDGED - down, : JUDGED - across]] = True
    near[seen.ids[1:, :-1], seen.ids[:-1, 1:]] = True
    return (near | near.T)[:count, :count]


def _colours(rng: SampleRng, near: np.ndarray) -> list[int] | None:
    """A colour for each object that no neighbour has; None where all are taken."""
    colours: list[int] = []
    for number, u in enumerate(rng.uniforms(len(near)).tolist()):
        taken = {colours[other] for other in range(number) if near[number, other]}
        free = [colour for colour in range(len(COLOURS)) if colour not in taken]
        if not free:
            return None
        colours.append(free[int(u * len(free))])
    return colours
