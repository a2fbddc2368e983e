from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path

import pytest

from jepa.core.data import shards
from jepa.core.data.shards import Shards
from jepa.core.data.source import Place
from jepa.core.errors import DataError, DecodeError


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def place(tmp_path: Path, root: Path, split: str | None = None) -> Place:
    return Place(
        root=root, split=split, extensions=frozenset({".jpg", ".png"}), cache=tmp_path / "cache"
    )


def open_shards(tmp_path: Path, root: Path, split: str | None = None) -> Shards:
    return Shards(Shards.Config(), place=place(tmp_path, root, split))


def contents(source: Shards) -> list[object]:
    return [source.item(i).content for i in range(len(source))]


def test_members_are_read_at_random(tmp_path):
    root = tmp_path / "data"
    write_tar(root / "b.tar", {"x.jpg": b"x" * 3000, "n.json": b"{}", "deep/y.PNG": b"y"})
    write_tar(root / "a.tar", {"long" * 60 + ".jpg": b"z" * 10})
    source = open_shards(tmp_path, root)
    assert contents(source) == [b"z" * 10, b"x" * 3000, b"y"]
    assert source.item(2).name == "b.tar:deep/y.PNG"
    assert source.labels() is None
    assert source.classes == ()


def test_one_tar_and_splits(tmp_path):
    write_tar(tmp_path / "data/train/0.tar", {"a.jpg": b"a"})
    write_tar(tmp_path / "data/val/0.tar", {"b.jpg": b"b"})
    assert contents(open_shards(tmp_path, tmp_path / "data", "val")) == [b"b"]
    assert contents(open_shards(tmp_path, tmp_path / "data/train/0.tar")) == [b"a"]
    with pytest.raises(DataError, match="one tar, which has no splits"):
        open_shards(tmp_path, tmp_path / "data/train/0.tar", "val")


def test_webdataset_labels(tmp_path):
    write_tar(
        tmp_path / "data/0.tar",
        {"d/a.1.jpg": b"a", "d/a.cls": b"2\n", "b.cls": b"0", "b.jpg": b"b"},
    )
    source = open_shards(tmp_path, tmp_path / "data")
    assert source.labels().tolist() == [2, 0]
    assert source.classes == ("0", "1", "2")
    assert source.item(0).label == 2
    named = Shards(Shards.Config(classes=("p", "q", "r")), place=place(tmp_path, tmp_path / "data"))
    assert named.classes == ("p", "q", "r")
    with pytest.raises(DataError, match="names 2 classes, but the labels reach 2"):
        Shards(Shards.Config(classes=("p", "q")), place=place(tmp_path, tmp_path / "data"))


def test_labels_are_all_or_none_and_whole(tmp_path):
    write_tar(tmp_path / "some/0.tar", {"a.jpg": b"a", "a.cls": b"2", "b.jpg": b"b"})
    with pytest.raises(DataError, match=r"1 of 2 samples have a label.*b\.jpg has none"):
        open_shards(tmp_path, tmp_path / "some")
    write_tar(tmp_path / "text/0.tar", {"a.jpg": b"a", "a.cls": b"cat"})
    with pytest.raises(DataError, match="found b'cat'"):
        open_shards(tmp_path, tmp_path / "text")


def test_the_index_is_built_once_and_renewed_on_change(tmp_path, monkeypatch):
    built = []
    members = shards._members
    monkeypatch.setattr(
        shards, "_members", lambda path, ext: built.append(path.name) or members(path, ext)
    )
    root = tmp_path / "data"
    write_tar(root / "0.tar", {"a.jpg": b"a"})
    write_tar(root / "1.tar", {"b.jpg": b"b"})
    first = open_shards(tmp_path, root)
    second = open_shards(tmp_path, root)
    assert built == ["0.tar", "1.tar"]
    assert first.fingerprint() == second.fingerprint()
    built.clear()
    write_tar(root / "1.tar", {"b.jpg": b"b", "c.jpg": b"c"})
    os.utime(root / "1.tar", (5, 5))
    assert contents(open_shards(tmp_path, root)) == [b"a", b"b", b"c"]
    write_tar(root / "2.tar", {"d.jpg": b"d"})
    assert contents(open_shards(tmp_path, root)) == [b"a", b"b", b"c", b"d"]
    assert len(built) == 5


def test_many_tars_need_few_open_files(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_OPEN_FILES", 3)
    for i in range(10):
        write_tar(tmp_path / f"data/{i}.tar", {f"{i}.jpg": str(i).encode()})
    source = open_shards(tmp_path, tmp_path / "data")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert contents(source) == [str(i).encode() for i in range(10)]
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


def test_shards_travel_small_and_open_lazily(tmp_path):
    write_tar(tmp_path / "data/0.tar", {f"{i:080d}.jpg": b"%d" % i for i in range(200)})
    source = open_shards(tmp_path, tmp_path / "data")
    source.item(0)
    text = pickle.dumps(source)
    assert len(text) < 2000
    assert contents(pickle.loads(text)) == contents(source)


def test_a_tar_that_shrank_gives_a_decode_error(tmp_path):
    write_tar(tmp_path / "data/0.tar", {"a.jpg": b"a" * 5000})
    source = open_shards(tmp_path, tmp_path / "data")
    os.truncate(tmp_path / "data/0.tar", 1000)
    with pytest.raises(DecodeError, match="the tar ends after 488 of 5000 bytes"):
        source.item(0)


def test_compressed_and_strange_tars_are_refused(tmp_path):
    write_tar(tmp_path / "gz/0.tar.gz", {"a.jpg": b"a"}, "w:gz")
    with pytest.raises(DataError, match="gunzip"):
        open_shards(tmp_path, tmp_path / "gz")
    write_tar(tmp_path / "named/0.tar", {"a.jpg": b"a"}, "w:gz")
    with pytest.raises(DataError, match="uncompressed"):
        open_shards(tmp_path, tmp_path / "named")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/a.txt").touch()
    with pytest.raises(DataError, match=r"no \.tar; found a\.txt"):
        open_shards(tmp_path, tmp_path / "none")
    write_tar(tmp_path / "text/0.tar", {"a.txt": b"a"})
    with pytest.raises(DataError, match=r"no member that ends in \.jpg, \.png"):
        open_shards(tmp_path, tmp_path / "text")
