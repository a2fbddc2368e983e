"""The source `watch_imu` on a small file of the same form; on the real one where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import numpy as np
import pytest

from jepa.core import DataError, Place
from jepa.testing import conformance
from jepa_imu.watch import WatchImu

LENGTHS = (250, 100, 330, 199)
PEOPLE = (1, 2, 8, 9)
EXERCISES = (0, 2, 1, 2)
REAL = "WATCH_IMU"


def write(path: Path, **changes: np.ndarray | None) -> Path:
    """Four series of four people: each value is its place in the file."""
    n = sum(LENGTHS)
    arrays = {
        "x": np.arange(n)[:, None] + np.arange(6) / 10,
        "offsets": np.cumsum([0, *LENGTHS]),
        "y": np.array(EXERCISES),
        "subject": np.array(PEOPLE),
        "classes": np.array(["PEN", "ABD", "ROW"]),
        "rate": np.array(50),
    }
    np.savez(path, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "watch_imu.npz")


def place(root: Path | None, split: str | None) -> Place:
    return Place(root=root, split=split, extensions=frozenset(), cache=Path("/nowhere"))


def watch(root: Path | None, split: str | None = None, **settings: object) -> WatchImu:
    config = attrs.evolve(WatchImu.Config(held_out=(8, 9), seconds=2.0, hop=1.0), **settings)
    return WatchImu(config, place=place(root, split))


@pytest.mark.parametrize("split", [None, "train", "test"])
def test_it_keeps_its_promises(file, split):
    settings = {"held_out": [8, 9], "seconds": 2.0, "hop": 1.0}
    conformance("source", WatchImu, settings=settings, root=file, split=split).run()


def test_windows_lie_within_their_series(file):
    source = watch(file)
    starts = [float(source.item(index).content[0, 0]) for index in range(len(source))]
    #        series of 250 values    of 100  of 330                      of 199
    assert starts == [0, 50, 100, 150, 250, 350, 400, 450, 500, 550, 680, 730]
    assert {source.item(index).content.shape for index in range(len(source))} == {(100, 6)}
    assert source.item(4).name == "ROW/person2/series1@0"


def test_labels_are_exercises(file):
    assert watch(file).classes == ("PEN", "ABD", "ROW")
    assert watch(file).labels().tolist() == [0, 0, 0, 0, 2, 1, 1, 1, 1, 1, 2, 2]


def test_groups_are_people(file):
    source = watch(file)
    named = [source.item(index).name.split("/")[1] for index in range(len(source))]
    assert [f"person{number}" for number in source.groups()] == named
    assert source.groups().dtype == np.int64


def people(source: WatchImu) -> set[str]:
    return {source.item(index).name.split("/")[1] for index in range(len(source))}


def test_nobody_is_in_both_splits(file):
    assert people(watch(file, "train")) == {"person1", "person2"}
    assert people(watch(file, "test")) == {"person8", "person9"}
    assert people(watch(file)) == {"person1", "person2", "person8", "person9"}


def test_people_who_are_left_out_are_in_no_split(file):
    some = {"people": (1, 2, 8), "held_out": (2, 9)}
    assert people(watch(file, "train", **some)) == {"person1", "person8"}
    assert people(watch(file, "test", **some)) == {"person2"}
    assert people(watch(file, **some)) == {"person1", "person2", "person8"}


def test_the_fingerprint_knows_windows_people_and_values(file, tmp_path):
    other = write(tmp_path / "other.npz", x=np.ones((sum(LENGTHS), 6)))
    found = [
        watch(file),
        watch(file, "train"),
        watch(file, hop=2.0),
        watch(file, seconds=2.5),
        watch(other),
    ]
    assert len({source.fingerprint() for source in found}) == len(found)


@pytest.mark.parametrize(
    ("split", "settings", "said"),
    [
        ("val", {}, "found 'val', allowed: test, train"),
        (None, {"held_out": (7,)}, r"found the people \[7\], allowed: \[1, 2, 8, 9\]"),
        (None, {"people": (1, 77)}, r"found the people \[77\]"),
        ("test", {"held_out": ()}, "no window of 2 s of the people"),
        (None, {"seconds": 7.0}, "no window of 7 s .* longest series has 6.6 s"),
    ],
)
def test_what_is_not_there(file, split, settings, said):
    with pytest.raises(DataError, match=said):
        watch(file, split, **settings)


def test_files_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"data\.root is not set"):
        watch(None)
    with pytest.raises(DataError, match="no such file; allowed: the file"):
        watch(tmp_path)
    with np.load(write(tmp_path / "damaged.npz")) as file:
        arrays = dict(file)
    np.savez_compressed(tmp_path / "damaged.npz", **arrays)
    whole = (tmp_path / "damaged.npz").read_bytes()
    (tmp_path / "damaged.npz").write_bytes(whole[:200] + b"\xff" * 300 + whole[500:])
    with pytest.raises(DataError, match=r"damaged\.npz: cannot be read"):
        watch(tmp_path / "damaged.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(DataError, match=r"text\.npz: cannot be read"):
        watch(tmp_path / "text.npz")
    with pytest.raises(DataError, match="no array subject; it holds"):
        watch(write(tmp_path / "less.npz", subject=None))


@pytest.mark.skipif(REAL not in os.environ, reason=f"{REAL} names no watch_imu.npz")
def test_the_real_file():
    source = WatchImu(WatchImu.Config(), place=place(Path(os.environ[REAL]), None))
    assert source.classes == ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
    assert people(source) == {f"person{number}" for number in range(1, 11)}
    assert len(source) > 2000
    assert np.bincount(source.labels()).min() > 200
    gravity = np.mean([np.linalg.norm(source.item(i).content[:, :3].mean(0)) for i in range(50)])
    assert 0.7 < gravity < 1.3
