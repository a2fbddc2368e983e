"""Films that are arrays or folders of pictures, and the source of such folders."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from films import HEIGHT, WIDTH, film, folder, frame, number
from PIL import Image

from jepa.core.data.source import Place
from jepa.core.errors import DataError, DecodeError
from jepa.core.modality import Stretch
from jepa.evaluation.identity import identity
from jepa.modalities.video.folder import natural
from jepa.modalities.video.motion import Motion
from jepa.modalities.video.opening import open_film
from jepa.modalities.video.source import FrameFolders
from jepa.testing import conformance


def seen(content, places):
    return [(place, number(colours)) for place, colours in open_film(content).frames(places)]


# --- arrays -------------------------------------------------------------------------------------


def test_arrays_give_their_frames():
    array = film(12)
    assert open_film(array).length == 12
    assert open_film(array).times is None
    assert seen(array, [0, 5, 11]) == [(0, 0), (5, 5), (11, 11)]


@pytest.mark.parametrize("cut", [lambda a: a[..., 0], lambda a: a[..., :1]])
def test_grey_arrays(cut):
    ((_, found),) = open_film(cut(film(4))).frames([3])
    assert np.array_equal(found, frame(3))


def test_stretches_of_arrays():
    part = Stretch(film(12), 0.5, 0.25)
    assert open_film(part).length == 3
    assert sorted(seen(part, [0, 1, 2])) == [(0, 5), (1, 4), (2, 3)]


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 4), np.uint8), "shape \\[4, 4\\]"),
        (np.zeros((4, 4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 0, 4, 3), np.uint8), "shape"),
        (np.zeros((2, 3, 4, 4, 3), np.uint8), "shape"),
        (np.zeros((4, 4, 4, 3), np.float32), "float32, allowed: uint8"),
        (np.zeros((4, 4, 4, 3), np.int64), "int64"),
    ],
)
def test_other_arrays_are_refused(array, said):
    with pytest.raises(DecodeError, match=said):
        open_film(array)


# --- folders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "JPEG"])
def test_folders_give_their_pictures_in_the_order_of_numbers(tmp_path, ending):
    path = folder(tmp_path / "clip", film(12), ending)
    (path / "notes.txt").write_text("no picture")
    (path / ".hidden.png").write_bytes(b"")
    assert open_film(path).length == 12
    assert seen(path, [0, 2, 9, 10, 11]) == [(n, n) for n in (0, 2, 9, 10, 11)]


def test_numbers_inside_names_sort_by_value():
    names = ["a10b2", "a2b10", "a2b9", "a", "10", "9", "009", "b1"]
    assert sorted(names, key=natural) == ["009", "9", "10", "a", "a2b9", "a2b10", "a10b2", "b1"]
    assert sorted(["1a", "a1", "1"], key=natural) == ["1", "1a", "a1"]


def test_grey_pictures_palettes_and_orientation(tmp_path):
    path = tmp_path / "clip"
    path.mkdir()
    Image.fromarray(frame(1)).convert("L").save(path / "1.png")
    Image.fromarray(frame(2)).convert("P").save(path / "2.png")
    Image.fromarray(frame(3)).convert("RGBA").save(path / "3.png")
    turned = Image.fromarray(np.rot90(frame(4)).copy())  # stored a quarter turn to the left
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(path / "4.png", exif=exif)
    assert seen(path, [0, 1, 2, 3]) == [(0, 1), (1, 2), (2, 3), (3, 4)]


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_frames_of_16_bits_are_scaled(tmp_path, ending):
    path = tmp_path / "clip"
    path.mkdir()
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray(257 * grey).save(path / f"1.{ending}")
    ((_, found),) = open_film(path).frames([0])
    assert np.array_equal(found, np.repeat(grey[..., None], 3, 2))


def test_frames_of_32_bits_are_refused(tmp_path):
    path = tmp_path / "clip"
    path.mkdir()
    Image.fromarray(np.ones((4, 4), np.float32)).save(path / "1.tif")
    with pytest.raises(DecodeError, match=r"1\.tif: .*32 bits, allowed: 8 or 16"):
        list(open_film(path).frames([0]))


def test_odd_metadata_leave_a_picture_upright(tmp_path):
    path = tmp_path / "clip"
    path.mkdir()
    Image.fromarray(frame(6)).save(path / "1.jpg", exif=b"Exif\0\0no header of TIFF", quality=95)
    assert seen(path, [0]) == [(0, 6)]


def test_folders_that_are_refused(tmp_path):
    path = folder(tmp_path / "clip", film(4))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DecodeError, match="no frame"):
        open_film(tmp_path / "empty")
    (path / "frame2.png").write_bytes((path / "frame2.png").read_bytes()[:60])
    (path / "frame3.png").write_bytes(b"no picture")
    assert seen(path, [0, 1]) == [(0, 0), (1, 1)]
    with pytest.raises(DecodeError, match=r"frame2\.png: damaged"):
        seen(path, [2])
    with pytest.raises(DecodeError, match=r"frame3\.png: no picture"):
        seen(path, [3])
    Image.fromarray(frame(1, HEIGHT + 2)).save(path / "frame1.png")
    with pytest.raises(DecodeError, match=f"frame1.png: found {WIDTH} x {HEIGHT + 2}.*one size"):
        seen(path, [0, 1])


# --- the source ---------------------------------------------------------------------------------


def made(root, cache, split=None):
    place = Place(root=root, split=split, extensions=frozenset({".mp4"}), cache=cache)
    return FrameFolders(FrameFolders.Config(), place=place)


def clips(root, *names):
    for name in names:
        folder(root / name, film(3))
    return root


def test_a_folder_a_class(tmp_path):
    root = clips(tmp_path / "data", "b/2", "b/10", "a/deep/er", "a-b/1")
    source = made(root, tmp_path / "cache")
    assert [source.item(i).name for i in range(len(source))] == [
        "a-b/1",
        "a/deep/er",
        "b/10",
        "b/2",
    ]
    assert source.classes == ("a", "a-b", "b")
    assert source.labels().tolist() == [1, 0, 2, 2]
    assert [source.item(i).label for i in range(4)] == [1, 0, 2, 2]
    assert open_film(source.item(3).content).length == 3


def test_clips_without_classes(tmp_path):
    root = clips(tmp_path / "data", "one", "two", "deeper/three")
    source = made(root, tmp_path / "cache")
    assert sorted(source.item(i).name for i in range(3)) == ["deeper/three", "one", "two"]
    assert (source.classes, source.labels(), source.item(0).label) == ((), None, None)


def test_a_clip_with_a_clip_inside(tmp_path):
    """Both hold frames; names such as `one0` and `one.` sort around `one/`."""
    root = clips(tmp_path / "data", "x/one", "x/one/inner", "x/one0", "x/one.", "x/none/a")
    found = made(root, tmp_path / "cache")
    names = {found.item(i).name for i in range(len(found))}
    assert names == {"x/one", "x/one/inner", "x/one0", "x/one.", "x/none/a"}


def test_a_frame_named_like_a_folder_beside_it(tmp_path):
    root = clips(tmp_path / "data", "x/one")
    Image.fromarray(frame(1)).save(root / "x" / "one0.png")
    found = made(root, tmp_path / "cache")
    assert {found.item(i).name for i in range(len(found))} == {"x", "x/one"}


def test_the_root_itself_may_be_a_clip(tmp_path):
    root = folder(tmp_path / "data", film(3))
    source = made(root, tmp_path / "cache")
    assert [source.item(i).name for i in range(len(source))] == ["."]
    assert open_film(source.item(0).content).length == 3


def test_splits_and_fingerprints(tmp_path):
    root = clips(tmp_path / "data", "train/a/1", "train/b/1", "test/a/1")
    train, test = (made(root, tmp_path / "cache", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (2, 1)
    before = train.fingerprint()
    assert before == made(root, tmp_path / "other", "train").fingerprint() != test.fingerprint()
    (root / "train" / "a" / "1" / "frame2.png").unlink()
    assert made(root, tmp_path / "other", "train").fingerprint() != before


def test_a_frame_that_is_made_anew_makes_other_samples(tmp_path):
    """Its folder looks as before; features in the cache are of the old frame."""
    root = clips(tmp_path / "data", "1", "2")
    source = made(root, tmp_path / "cache")
    before, first = identity(source), identity(source, np.array([0]))
    assert identity(source) == before
    changed = root / "2" / "frame1.png"
    Image.fromarray(frame(7)).save(changed)
    assert identity(source) != before
    assert identity(source, np.array([0])) == first, "the other clip is as it was"


def test_sources_of_many_samples_travel_small(tmp_path):
    root = tmp_path / "data"
    for place in range(600):
        (root / "a" / f"{place}{'-' * 200}").mkdir(parents=True)
        (root / "a" / f"{place}{'-' * 200}" / "1.png").touch()
    source = made(root, tmp_path / "cache")
    place = Place(root=root, split=None, extensions=frozenset(), cache=tmp_path / "cache")
    motion = Motion(Motion.Config(), place=place)
    assert len(source) == len(motion) == 600
    assert max(len(pickle.dumps(each)) for each in (source, motion)) < 20_000
    copied = pickle.loads(pickle.dumps(source))
    assert copied.item(599) == source.item(599)
    assert copied.fingerprint() == source.fingerprint()


def test_what_is_missing_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "film.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"looked for files that end in .*\.jpg.*found 1 file"):
        made(tmp_path / "data", tmp_path / "cache")
    with pytest.raises(DataError, match="no such sub-folder"):
        made(tmp_path / "data", tmp_path / "cache", "train")


def test_the_source_keeps_its_promises(tmp_path):
    root = clips(tmp_path / "data", "b/2", "b/10", "a/1")
    conformance("source", "frame_folders", root=root, extensions=[".png"]).run()
