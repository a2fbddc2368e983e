"""Solids, their shadows, and layouts in which each object can be counted."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest

from jepa.core.rng import SampleRng
from jepa.modalities.image.scenes import layout, places
from jepa.modalities.image.scenes.camera import Camera
from jepa.modalities.image.scenes.cast import PLANE, bounds_of, cast, windows
from jepa.modalities.image.scenes.layout import JUDGED, MIN_PIXELS, MIN_SHARE, Scene, draw
from jepa.modalities.image.scenes.render import render
from jepa.modalities.image.scenes.solids import Shape, Solid

EVERY = [
    Solid(shape, size, 0.4, -0.7, angle, 1, metal=False)
    for shape in Shape
    for size, angle in ((0.5, 0.3), (0.76, 2.0))
]
CORNERS = [
    Camera(distance, math.radians(tilt), x, y)
    for distance in (10.5, 11.5)
    for tilt in (37, 45)
    for x in (-0.2, 0.2)
    for y in (0.3, 0.7)
]
"""The outermost cameras that a scene can have."""


def inside(solid: Solid, points: np.ndarray) -> np.ndarray:
    """Which points [3, ...] lie in a solid, by its definition."""
    h = solid.half
    x, y, z = points[0] - solid.x, points[1] - solid.y, points[2] - h
    if solid.shape is Shape.SPHERE:
        return x**2 + y**2 + z**2 < h**2
    if solid.shape is Shape.CYLINDER:
        return (x**2 + y**2 < h**2) & (np.abs(z) < h)
    turned = (x + 1j * y) * np.exp(-1j * solid.angle)
    return (np.abs(turned.real) < h) & (np.abs(turned.imag) < h) & (np.abs(z) < h)


# --- solids ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("solid", EVERY, ids=lambda s: f"{s.shape.name}-{s.size}")
def test_lines_enter_a_solid_where_it_begins(solid):
    draws = np.random.default_rng(0)
    origin = (0.0, -8.0, 6.0)
    target = draws.uniform([-0.5, -1.6, -0.3], [1.3, 0.2, 1.7], (200, 3)).T
    direction = target - np.array(origin)[:, None]
    found = solid.crossing(origin, direction)
    steps = np.linspace(0.6, 1.4, 2001)
    points = np.array(origin)[:, None, None] + direction[:, :, None] * steps
    hit = inside(solid, points)
    expected = np.where(hit.any(1), steps[hit.argmax(1)], np.inf)
    agree = np.isclose(found, expected, atol=1e-3) | (np.isinf(found) & np.isinf(expected))
    assert agree.mean() > 0.99  # lines that graze an edge fall between two steps
    assert 30 < np.isfinite(found).sum() < 170
    assert solid.distance(origin) == pytest.approx(
        np.linalg.norm(direction * found, axis=0).min(), abs=0.15
    )


@pytest.mark.parametrize("solid", EVERY, ids=lambda s: f"{s.shape.name}-{s.size}")
def test_normals_point_outwards_and_distance_is_the_least(solid):
    draws = np.random.default_rng(1)
    origin = np.array([1.0, -8.0, 6.0])
    direction = draws.uniform([-0.6, -1.8, 0], [1.4, 0.3, 1.3], (20_000, 3)).T - origin[:, None]
    found = solid.crossing(tuple(origin), direction)
    surface = (origin[:, None] + direction * found)[:, np.isfinite(found)]
    normals = solid.normals(surface)
    assert np.allclose(np.linalg.norm(normals, axis=0), 1, atol=1e-6)
    assert not inside(solid, surface + 1e-4 * normals).any()
    assert inside(solid, surface - 1e-3 * normals).mean() > 0.99  # less those at an edge
    distances = np.linalg.norm(surface - origin[:, None], axis=0)
    assert 0 <= distances.min() - solid.distance(tuple(origin)) < 0.01


def test_a_ball_fills_its_rectangle():
    """The rectangles that bound objects are tight, and hold whatever is cast."""
    for camera in CORNERS:
        for solid in EVERY:
            (window,) = windows(bounds_of(camera, [solid]), 256)
            everywhere = solid.crossing(camera.place, camera.rays(256)[:3]) < np.inf
            outside = everywhere.copy()
            outside[window] = False
            assert everywhere.any()
            assert not outside.any()
            if solid.shape is Shape.SPHERE:
                rows, columns = np.nonzero(everywhere)
                assert rows.max() - rows.min() >= window.rows.stop - window.rows.start - 3
                assert columns.max() - columns.min() >= window[1].stop - window[1].start - 3


@pytest.mark.parametrize("solid", EVERY, ids=lambda s: f"{s.shape.name}-{s.size}")
def test_the_shadow_lies_where_the_light_does_not_reach(solid):
    camera, light = Camera(11, math.radians(40), 0, 0.5), (0.6, -0.36, math.sqrt(0.5104))
    far = attrs.evolve(solid, x=-2.6, y=3.5)
    dark, lit = (render(Scene(camera, light, (s,), (1.0,)), 64) / 255 for s in (solid, far))
    seen = [cast(camera, [s], 64).ids != PLANE for s in (solid, far)]
    rays = camera.rays(64)
    depth = -camera.place[2] / rays.z
    ground = (camera.place[0] + depth * rays.x, camera.place[1] + depth * rays.y, 0)
    points = np.stack([np.broadcast_to(part, (64, 64)) for part in ground])
    steps = np.linspace(0, 4, 400)
    towards = np.array(light)[:, None, None, None] * steps
    shadows = [inside(s, points[..., None] + towards).any(2) for s in (solid, far)]
    ratio = (dark / lit).mean(2)
    plane = ~(grown(seen[0]) | grown(seen[1]) | grown(shadows[1]))
    core = shadows[0] & ~grown(~shadows[0]) & plane
    assert core.sum() > 5
    assert ratio[core].max() < 0.75
    assert np.allclose(ratio[plane & ~grown(shadows[0])], 1, atol=0.01)


def grown(mask: np.ndarray) -> np.ndarray:
    """A mask with one more pixel all around."""
    padded = np.pad(mask, 1)
    rolls = [np.roll(padded, (a, b), (0, 1)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return np.any(rolls, axis=0)[1:-1, 1:-1]


def test_metal_shines():
    camera, light = Camera(11, math.radians(40), 0, 0.5), (0.0, -math.sqrt(0.5), math.sqrt(0.5))
    matt = Solid(Shape.SPHERE, 0.76, 0, 0, 0.0, 1, metal=False)
    one, other = (
        render(Scene(camera, light, (s,), (1.0,)), 128).astype(float)
        for s in (matt, attrs.evolve(matt, metal=True))
    )
    ball = cast(camera, [matt], 128).ids == 0
    assert other[ball].min(1).max() > one[ball].min(1).max() + 60  # a white spot
    assert np.abs(other - one)[ball].mean() > 15  # it mirrors
    assert np.array_equal(other[:20], one[:20])


# --- layouts --------------------------------------------------------------------------------------


def assert_countable(scene: Scene) -> None:
    """All that lets somebody count the objects."""
    seen = cast(scene.camera, scene.solids, JUDGED)
    visible = np.array([(seen.ids == number).sum() for number in range(len(scene.solids))])
    assert visible.min() >= MIN_PIXELS
    assert (visible >= MIN_SHARE * seen.whole).all()
    assert scene.shown == pytest.approx(visible / seen.whole)
    border = np.ones((JUDGED, JUDGED), dtype=bool)
    border[1:-1, 1:-1] = False
    assert (seen.ids[border] == PLANE).all()
    for a, one in enumerate(scene.solids):
        near = grown(seen.ids == a)
        for b, other in enumerate(scene.solids[:a]):
            assert apart(one, other)
            if (near & (seen.ids == b)).any():
                assert one.colour != other.colour


def apart(one: Solid, other: Solid) -> bool:
    """Whether no point of one solid, seen from above, lies in another."""
    steps = np.linspace(-1.2, 1.2, 49)
    x, y = np.meshgrid(steps, steps)
    points = np.stack([x + one.x, y + one.y, np.zeros_like(x)])
    at_heart = [np.stack([points[0], points[1], points[2] + s.half]) for s in (one, other)]
    return not (inside(one, at_heart[0]) & inside(other, at_heart[1])).any()


def test_every_object_can_be_counted():
    for index in range(150):
        assert_countable(draw(3, 0, index, 3, 10))
    for index in range(50):
        scene = draw(4, 1, index, 10, 10)
        assert len(scene.solids) == 10
        assert_countable(scene)


def test_objects_hide_each_other_in_part():
    shown = [share for index in range(200) for share in draw(0, 0, index, 3, 10).shown]
    assert 0.1 < np.mean(np.array(shown) < 0.97) < 0.5


def test_rows_serve_where_throwing_fails(monkeypatch):
    """The last resort cannot fail, whatever the camera and the draws: so no scene hangs."""
    monkeypatch.setattr(places, "throw", lambda rng, camera, count: None)
    for index in range(150):
        scene = draw(5, 0, index, 1, 10)
        assert_countable(scene)
    for camera in CORNERS:
        for index in range(20):
            solids = places.rows(SampleRng(6, 0, index), places.CAPACITY)
            assert layout._judged(SampleRng(7, 0, index), camera, solids) is not None


def test_throwing_gives_up_where_there_is_no_room():
    camera = Camera(11, math.radians(40), 0, 0.5)
    assert places.throw(SampleRng(0, 0, 0), camera, 60) is None


def test_rows_are_needed_hardly_ever(monkeypatch):
    calls = []
    rows = places.rows
    monkeypatch.setattr(places, "rows", lambda rng, count: calls.append(count) or rows(rng, count))
    for index in range(300):
        draw(8, 0, index, 10, 10)
    assert len(calls) <= 1


def test_draws_are_fair():
    solids = [solid for index in range(400) for solid in draw(0, 0, index, 3, 10).solids]
    for values, expected in (
        ([s.shape for s in solids], 3),
        ([s.colour for s in solids], 8),
        ([s.size for s in solids], 2),
        ([s.metal for s in solids], 2),
    ):
        _, counts = np.unique(values, return_counts=True)
        assert len(counts) == expected
        shares = counts / len(solids)
        assert np.abs(shares - 1 / expected).max() < 0.05
    x, y = np.array([[s.x, s.y] for s in solids]).T
    assert np.histogram(x, 3)[0].min() > 0.2 * len(solids)
    assert np.histogram(y, 3)[0].min() > 0.2 * len(solids)
