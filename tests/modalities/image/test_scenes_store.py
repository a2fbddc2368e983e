"""The cache of scenes: the same bytes with and without, damage, bounds, several processes."""

from __future__ import annotations

import multiprocessing
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from test_scenes import open_scenes

from jepa.core.errors import DataError
from jepa.modalities.image.scenes import source as module
from jepa.modalities.image.scenes import store


def pictures_file(cache: Path) -> Path:
    (found,) = cache.rglob("pictures_*.bin")
    return found


def refuse(*_: object) -> None:
    raise AssertionError("rendered")


def test_the_cache_gives_what_was_rendered(tmp_path, monkeypatch):
    fresh = [open_scenes(tmp_path / "none", cached=0).item(i) for i in range(5)]
    assert not (tmp_path / "none").exists()
    first = [open_scenes(tmp_path).item(i) for i in range(5)]
    monkeypatch.setattr(module, "render", refuse)
    source = open_scenes(tmp_path)
    for index, (a, b) in enumerate(zip(fresh, first, strict=True)):
        c = source.item(index)
        assert np.array_equal(a.content, b.content)
        assert np.array_equal(a.content, c.content)
        assert a.label == b.label == c.label
        assert a.name == c.name == f"scenes/train/{index}"
    with pytest.raises(AssertionError, match="rendered"):
        source.item(5)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw[:5000] + bytes([raw[5000] ^ 1]) + raw[5001:],
        lambda raw: bytes(len(raw)),
        lambda raw: raw[: len(raw) // 2] * 2,  # whole records, in each other's places
    ],
    ids=["cut", "empty", "one bit", "zeros", "swapped"],
)
def test_damage_is_rendered_anew(tmp_path, damage):
    expected = [open_scenes(tmp_path).item(i).content.copy() for i in range(4)]
    file = pictures_file(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    source = open_scenes(tmp_path)
    for index in range(4):
        assert np.array_equal(source.item(index).content, expected[index])
    assert file.read_bytes() == whole


def test_damaged_facts_are_found_again(tmp_path):
    expected = open_scenes(tmp_path, "test", test_samples=50).labels()
    (file,) = tmp_path.rglob("facts_*")
    raw = bytearray(file.read_bytes())
    raw[-3] ^= 255
    file.write_bytes(raw)
    assert np.array_equal(open_scenes(tmp_path, "test", test_samples=50).labels(), expected)


def test_labels_are_found_once(tmp_path, monkeypatch):
    expected = open_scenes(tmp_path, samples=60).labels()
    monkeypatch.setattr(module, "draw", refuse)
    assert np.array_equal(open_scenes(tmp_path, samples=60).labels(), expected)
    # Every label and every size has the same facts.
    assert len(open_scenes(tmp_path, samples=60, label="colour", size=32).labels()) == 60


def test_more_samples_keep_the_facts_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_BLOCK", 20)
    few = open_scenes(tmp_path, samples=50).quantity("nearest")
    drawn: list[int] = []
    draw = module.draw
    monkeypatch.setattr(
        module, "draw", lambda *given: drawn.append(given[2]) or draw(*given)
    )  # fmt: skip
    more = open_scenes(tmp_path, samples=70).quantity("nearest")
    assert np.array_equal(more[:50], few)
    assert drawn == list(range(40, 70))


def test_pictures_behind_the_limit_are_not_kept(tmp_path):
    source = open_scenes(tmp_path, cached=3)
    for index in (0, 2, 3, 100, 19_999):
        source.item(index)
    assert 2 * 64 * 64 * 3 < pictures_file(tmp_path).stat().st_size < 3.1 * 64 * 64 * 3


def test_a_far_picture_costs_neither_disk_nor_memory(tmp_path):
    source = open_scenes(tmp_path)
    source.item(19_999)
    stat = pictures_file(tmp_path).stat()
    assert stat.st_size > 200e6
    assert stat.st_blocks * 512 < 1e6
    tracemalloc.start()
    open_scenes(tmp_path).item(19_999)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def many(cache: str) -> list[bytes]:
    source = open_scenes(Path(cache))
    return [source.item(index).content.tobytes() for index in range(30)]


def test_processes_may_write_the_same_pictures_at_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.map(many, [str(tmp_path)] * 3)
    assert found[0] == found[1] == found[2] == many(str(tmp_path / "other"))
    assert many(str(tmp_path)) == found[0]


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    source = open_scenes(tmp_path / "file")
    with pytest.raises(DataError, match=r"cannot be kept.*JEPA_CACHE.*data\.source\.cached=0"):
        source.item(0)
    monkeypatch.setattr(module, "draw", refuse)
    with pytest.raises(DataError, match=r"cannot be kept.*JEPA_CACHE"):
        source.labels()
    monkeypatch.undo()
    assert open_scenes(tmp_path / "file", cached=0).item(0).content.shape == (64, 64, 3)


def test_somebody_elses_cache_can_be_read(tmp_path, monkeypatch):
    expected = open_scenes(tmp_path).item(0).content.copy()
    opens = os.open

    def refusing(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return opens(path, flags, *mode)

    monkeypatch.setattr(os, "open", refusing)
    source = open_scenes(tmp_path)
    assert np.array_equal(source.item(0).content, expected)
    with pytest.raises(DataError, match=r"cannot be kept \(Permission denied\)"):
        source.item(1)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    for write in (full, lambda handle, data, place: len(data) // 2):
        monkeypatch.setattr(os, "pwrite", write)
        with pytest.raises(DataError, match="No space left on device"):
            open_scenes(tmp_path).item(0)
