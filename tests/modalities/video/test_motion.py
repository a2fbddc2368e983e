"""Clips of a moving camera: what moves, by how much, and what a still must not tell."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from jepa.core.data.source import Place
from jepa.core.errors import ConfigError, DataError, DecodeError
from jepa.core.settings import structure
from jepa.modalities.video.motion import Motion
from jepa.modalities.video.motion.camera import Camera, Move, aim, shoot
from jepa.testing import conformance

PANS = {
    Move.PAN_LEFT: (0, -1),
    Move.PAN_RIGHT: (0, 1),
    Move.PAN_UP: (-1, 0),
    Move.PAN_DOWN: (1, 0),
}
MOVES = pytest.mark.parametrize("move", list(Move), ids=lambda move: move.name.lower())


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 to train and 8 to test, in class folders, of several sides."""
    root = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 8)):
        for number in range(count):
            sides = ((20, 30), (40, 24), (33, 33))[number % 3]
            pixels = draw.integers(0, 256, (*sides, 3), dtype=np.uint8)
            path = root / split / "ab"[number % 2] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def opened(root: Path | None, split: str | None = "train", **settings: object) -> Motion:
    assert root is not None
    place = Place(root=root, split=split, extensions=frozenset({".mp4"}), cache=root / "cache")
    return Motion(Motion.Config(**{"frames": 5, "size": (16, 16), **settings}), place=place)


# --- the camera, over a photograph whose colours say where they are -------------------------------

SIDES = (220, 250)


def map_of_places() -> torch.Tensor:
    """uint8 [3, h, w]: red is how far down a pixel is, green how far to the right."""
    down, right = (torch.arange(side, dtype=torch.uint8) for side in SIDES)
    plain = torch.zeros(SIDES, dtype=torch.uint8)
    return torch.stack([plain + down[:, None], plain + right[None], plain])


def seen_places(camera: Camera, shot) -> np.ndarray:
    """Places [F, H, W, 2] (y, x) in the photograph, to half a pixel."""
    return shoot(camera, map_of_places(), shot).numpy()[..., :2].astype(np.float64)


def slow(move: Move, speed: float = 0.02, draws=(0.5, 0.5, 0.5)):
    camera = Camera(frames=5, size=(40, 48), fastest=0.03)
    return camera, aim(camera, SIDES, move, speed, draws)


@pytest.mark.parametrize("move", list(PANS), ids=lambda move: move.name.lower())
def test_a_pan_moves_the_camera_its_way(move):
    camera, shot = slow(move)
    places = seen_places(camera, shot)
    ways = np.diff(places.mean((1, 2)), axis=0)  # [F - 1, 2]
    step = shot.speed * 40 * shot.scale
    np.testing.assert_allclose(ways, np.tile(np.multiply(PANS[move], step), (4, 1)), atol=0.1)


@pytest.mark.parametrize(("move", "sign"), [(Move.ZOOM_IN, -1), (Move.ZOOM_OUT, 1)])
def test_a_zoom_keeps_the_middle_and_changes_the_width(move, sign):
    camera, shot = slow(move)
    places = seen_places(camera, shot)
    assert np.abs(np.diff(places.mean((1, 2)), axis=0)).max() < 0.1
    widths = places[:, :, -1, 1].mean(1) - places[:, :, 0, 1].mean(1)
    growth = np.diff(np.log(widths))
    np.testing.assert_allclose(growth, sign * camera.rate(shot.speed), atol=0.01)


@pytest.mark.parametrize(("move", "sign"), [(Move.TURN_LEFT, -1), (Move.TURN_RIGHT, 1)])
def test_a_turn_keeps_the_middle_and_tilts_the_horizon(move, sign):
    """The right edge of what is seen goes down where the camera turns to the right."""
    camera, shot = slow(move)
    places = seen_places(camera, shot)
    assert np.abs(np.diff(places.mean((1, 2)), axis=0)).max() < 0.1
    across = places[:, :, -1].mean(1) - places[:, :, 0].mean(1)  # [F, 2]
    angles = np.arctan2(across[:, 0], across[:, 1])
    np.testing.assert_allclose(np.diff(angles), sign * camera.rate(shot.speed), atol=0.01)


@MOVES
def test_speed_is_the_mean_way_of_a_pixel(move):
    camera, shot = slow(move)
    steps = np.linalg.norm(np.diff(seen_places(camera, shot), axis=0), axis=-1) / shot.scale
    assert steps.mean() == pytest.approx(shot.speed * 40, rel=0.05)


@MOVES
def test_the_window_stays_on_the_photograph(move):
    """At every corner and at top speed: what lies around a photograph is never seen."""
    camera = Camera(frames=9, size=(40, 48), fastest=0.03)
    inside = map_of_places()
    edge = torch.nn.functional.pad(inside[None].float(), (1, 1, 1, 1), "replicate")[0]
    around = torch.nn.functional.pad(edge, (9, 9, 9, 9), value=255).to(torch.uint8)
    last = math.nextafter(1, 0)
    for y in (0.0, last):
        for x in (0.0, last):
            shot = aim(camera, SIDES, move, camera.fastest, (last, y, x))
            there = attrs.evolve(shot, center=(shot.center[0] + 10, shot.center[1] + 10))
            clip, framed = shoot(camera, inside, shot), shoot(camera, around, there)
            torch.testing.assert_close(clip, framed, atol=1, rtol=0)


@MOVES
def test_the_middle_frame_tells_neither_move_nor_speed(move):
    draws = (0.3, 0.7, 0.2)
    camera, reference = slow(Move.PAN_LEFT, 0.03, draws)
    _, shot = slow(move, 0.005, draws)
    assert (shot.scale, shot.center) == (reference.scale, reference.center)
    middle, other = (shoot(camera, map_of_places(), each)[2] for each in (shot, reference))
    torch.testing.assert_close(middle, other, atol=1, rtol=0)


def test_fine_photographs_do_not_flicker():
    """A window that is wider than its frame is averaged, not sampled here and there."""
    camera = Camera(frames=5, size=(16, 16), fastest=0.03)
    draw = np.random.default_rng(0)
    noise = torch.from_numpy(draw.integers(0, 256, (3, 400, 400), dtype=np.uint8))
    shot = aim(camera, (400, 400), Move.PAN_RIGHT, 0.03, (1.0, 0.5, 0.5))
    assert shot.scale > 10
    assert shoot(camera, noise, shot).float().std() < 20  # of 74


# --- the source -----------------------------------------------------------------------------------


def test_it_keeps_the_promises_of_a_source(photographs):
    settings = {"frames": 4, "size": [16, 16]}
    conformance("source", "motion", root=photographs, split="train", settings=settings).run()


def test_a_clip_is_a_function_of_seed_and_index(photographs):
    one, longer = opened(photographs), opened(photographs, clips=1000)
    assert (len(one), len(longer)) == (24, 1000)
    for index in (0, 7, 23):
        first, second = one.item(index), longer.item(index)
        assert (first.name, first.label) == (second.name, second.label)
        assert np.array_equal(first.content, second.content)
    clip = one.item(3).content
    assert (clip.shape, clip.dtype) == ((5, 16, 16, 3), np.uint8)
    copied = pickle.loads(pickle.dumps(one))
    assert np.array_equal(copied.item(3).content, clip)
    other = opened(photographs, seed=1)
    assert any(other.item(i).name != one.item(i).name for i in range(5))
    assert other.quantity("speed").tolist() != one.quantity("speed").tolist()


def test_the_fingerprint_tells_samples_apart(photographs):
    found = [
        opened(photographs, **settings).fingerprint()
        for settings in ({}, {"clips": 9}, {"seed": 1}, {"frames": 6}, {"speed": (0.01, 0.02)})
    ]
    found.append(opened(photographs, "test").fingerprint())
    assert len(set(found)) == len(found)
    assert opened(photographs).fingerprint() == found[0]


def test_the_splits_share_no_photograph(photographs):
    train, test = opened(photographs), opened(photographs, "test")
    assert (len(train), len(test)) == (24, 8)
    assert len(opened(photographs, None)) == 32
    clips = [train.item(i).content for i in range(24)]
    assert not any(np.array_equal(test.item(i).content, clip) for i in range(8) for clip in clips)


def test_each_photograph_comes_once_a_round_with_other_moves(photographs):
    source = opened(photographs, clips=24 * 20)
    seen: dict[str, set[str]] = {}
    for turn in range(20):
        names = [source.item(24 * turn + i).name.split()[:2] for i in range(24)]
        assert len({photograph for photograph, _ in names}) == 24
        for photograph, move in names:
            seen.setdefault(photograph, set()).add(move)
    assert min(map(len, seen.values())) >= 5  # of 8 moves in 20 draws; 7.4 on average


def test_clips_of_one_photograph_are_of_one_origin(photographs):
    source = opened(photographs, clips=24 * 2 + 5)
    of: dict[int, set[str]] = {}
    for index, group in enumerate(source.groups().tolist()):
        of.setdefault(group, set()).add(source.item(index).name.split()[0])
    assert len(of) == 24
    assert all(len(names) == 1 for names in of.values())
    assert len(set.union(*of.values())) == 24


def test_moves_are_balanced_and_named(photographs):
    source = opened(photographs, clips=803)
    labels = source.labels()
    assert labels is not None
    assert set(np.bincount(labels, minlength=8)) == {100, 101}
    for index in range(16):
        item = source.item(index)
        assert item.label == labels[index]
        assert source.classes[item.label] in item.name


def test_no_still_tells_the_move(photographs):
    """Where the window of the middle is, how large, and how fast it goes: alike for all moves."""
    count = 4000
    source = opened(photographs, clips=count)
    shots = [source.shot(index, (60, 80)) for index in range(count)]
    facts = np.array([(*shot.center, shot.scale, shot.speed) for shot in shots])
    moves = np.array([shot.move for shot in shots])
    spread = facts.std(0) / math.sqrt(count / 8)
    for move in Move:
        off = (facts[moves == move].mean(0) - facts.mean(0)) / spread
        assert np.abs(off).max() < 4
    assert facts[:, :2].mean(0) == pytest.approx([30, 40], abs=0.5)


def test_speed_is_drawn_evenly_and_known(photographs):
    source = opened(photographs, clips=2000, speed=(0.01, 0.05))
    speeds = source.quantity("speed")
    assert source.quantities == ("speed",)
    assert 0.01 <= speeds.min() < 0.0105
    assert 0.0495 < speeds.max() <= 0.05
    assert np.histogram(speeds, 8, (0.01, 0.05))[0] == pytest.approx(250, abs=70)
    assert speeds[7] == source.shot(7, (30, 30)).speed
    with pytest.raises(DataError, match=r"quantity of motion.*speed"):
        source.quantity("sped")


# --- photographs ----------------------------------------------------------------------------------


def one(tmp_path: Path, name: str, image: Image.Image, **options: object) -> Motion:
    folder = tmp_path / "one"
    folder.mkdir()
    image.save(folder / name, **options)
    return opened(folder, None, size=(12, 16))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
def test_photographs_of_any_mode(tmp_path, mode):
    image = Image.new("RGB", (40, 30), (255, 255, 255)).convert(mode)
    source = one(tmp_path, "a.tif", image)
    assert source.item(0).content.min() > 250


def test_photographs_of_16_bits_are_scaled(tmp_path):
    source = one(tmp_path, "a.png", Image.fromarray(np.full((30, 40), 100 * 257, np.uint16)))
    assert (source.item(0).content == 100).all()


@pytest.mark.parametrize("sides", [(1, 1), (3, 200), (90, 5), (16, 12)])
def test_small_photographs_are_scaled_up(tmp_path, sides):
    source = one(tmp_path, "a.png", Image.new("RGB", sides, (10, 100, 200)))
    clip = source.item(0).content
    assert clip.shape == (5, 12, 16, 3)
    assert (clip == (10, 100, 200)).all()


def test_large_and_turned_photographs(tmp_path):
    """A photograph on its side is put upright, and one of many pixels looks as one of few."""
    picture = Image.new("RGB", (1600, 1200), (200, 0, 0))
    picture.paste((0, 0, 200), (0, 600, 1600, 1200))
    lying = picture.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned to the right
    turned = one(tmp_path, "a.jpg", lying, exif=exif, quality=95)
    small = tmp_path / "small"
    small.mkdir()
    picture.resize((100, 75), Image.Resampling.BOX).save(small / "a.jpg", quality=95)
    few = opened(small, None, size=(12, 16))
    one_clip, other = (source.item(0).content.astype(int) for source in (turned, few))
    assert one_clip[:, 0, :, 0].min() > 150
    assert one_clip[:, -1, :, 2].min() > 150
    assert np.abs(one_clip - other).mean() < 8


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"^a\.jpg: no picture of a known format"),
        (b"no picture at all", r"^a\.jpg: no picture of a known format"),
        (None, r"^a\.jpg: damaged"),
    ],
    ids=["empty", "text", "truncated"],
)
def test_broken_photographs_are_decode_errors(tmp_path, data, reason):
    path = tmp_path / "a.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500] if data is None else data)
    with pytest.raises(DecodeError, match=reason):
        opened(tmp_path, None).item(0)


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no sample at any depth.*\.jpg.*1 \.mp4"):
        opened(tmp_path, None)


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"frames": 1}, "2 or more"),
        ({"size": [2, 16]}, "at least 4"),
        ({"speed": [0.03, 0.01]}, "in order"),
        ({"speed": [0, 0.01]}, "above 0"),
        ({"speed": [0.01, 0.5]}, r"found up to 0.5, allowed: at most 0.0\d+ over 16 frames"),
        ({"clips": 0}, "above 0"),
        ({"seed": -1}, "0 or more"),
        ({"sped": 1}, "speed"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ConfigError, match=says):
        structure(settings, Motion.Config, "data.source")


def test_what_the_error_allows_is_allowed():
    with pytest.raises(ConfigError) as caught:
        structure({"speed": [0.01, 0.5]}, Motion.Config, "data.source")
    most = float(str(caught.value).split("at most ")[1].split()[0])
    assert Motion.Config(speed=(0.01, most * 0.999)).camera.fastest > 0.05
