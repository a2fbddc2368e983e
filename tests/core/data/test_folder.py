from __future__ import annotations

import os
import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest

from jepa.core.config import load_run
from jepa.core.data import listing
from jepa.core.data.folder import ClassFolders, Folder
from jepa.core.data.opening import cache_folder
from jepa.core.data.source import Place
from jepa.core.errors import DataError
from jepa.core.settings import FieldError

LONG_AGO = 1_000_000_000


def fill(root: Path, *names: str) -> None:
    """Write empty files, in folders that look old enough for their times to be trusted."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    age(root)


def age(root: Path, seconds: int = LONG_AGO) -> None:
    for folder in [root, *(p for p in root.rglob("*") if p.is_dir())]:
        os.utime(folder, (seconds, seconds))


def place(tmp_path: Path, root: Path | None, split: str | None = None) -> Place:
    return Place(
        root=root, split=split, extensions=frozenset({".jpg", ".png"}), cache=tmp_path / "cache"
    )


def names(source: Folder | ClassFolders) -> list[str]:
    return [source.item(i).name for i in range(len(source))]


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were listed."""
    seen: list[str] = []
    scandir = os.scandir

    def counted(path):
        seen.append(str(path))
        return scandir(path)

    monkeypatch.setattr(listing.os, "scandir", counted)
    return seen


def test_files_at_any_depth_in_the_order_of_their_bytes(tmp_path):
    root = tmp_path / "data"
    fill(root, "b.jpg", "a/z.PNG", "a/deep/er/x.jpg", "a.b/y.jpg", "Z.jpg", "é.jpg", "n.txt")
    source = Folder(Folder.Config(), place=place(tmp_path, root))
    expected = ["Z.jpg", "a.b/y.jpg", "a/deep/er/x.jpg", "a/z.PNG", "b.jpg", "é.jpg"]
    assert names(source) == expected
    assert source.item(1).content == root / "a.b/y.jpg"
    assert source.labels() is None
    assert source.classes == ()


def test_hidden_names_are_skipped_and_links_followed(tmp_path):
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    fill(root, "a.jpg", ".b.jpg", ".hidden/c.jpg", "sub/d.jpg")
    fill(elsewhere, "e.jpg", "f.png")
    (root / "link.jpg").symlink_to(elsewhere / "e.jpg")
    (root / "linked").symlink_to(elsewhere)
    (root / "broken.jpg").symlink_to(elsewhere / "nowhere.jpg")
    (root / "sub" / "up").symlink_to(root)  # a circle
    source = Folder(Folder.Config(), place=place(tmp_path, root))
    assert names(source) == ["a.jpg", "link.jpg", "linked/e.jpg", "linked/f.png", "sub/d.jpg"]


def test_split_is_a_sub_folder(tmp_path):
    root = tmp_path / "data"
    fill(root, "train/a.jpg", "val/b.jpg", "val/c.jpg")
    assert len(Folder(Folder.Config(), place=place(tmp_path, root))) == 3
    assert names(Folder(Folder.Config(), place=place(tmp_path, root, "val"))) == ["b.jpg", "c.jpg"]
    with pytest.raises(DataError, match="it has: train, val; did you mean 'train'"):
        Folder(Folder.Config(), place=place(tmp_path, root, "trian"))


def test_the_second_start_lists_no_folder(tmp_path, scans):
    root = tmp_path / "data"
    fill(root, *(f"{i % 7}/{i}.jpg" for i in range(50)))
    scans.clear()
    first = Folder(Folder.Config(), place=place(tmp_path, root))
    assert len(scans) == 8
    scans.clear()
    second = Folder(Folder.Config(), place=place(tmp_path, root))
    assert scans == []
    assert names(first) == names(second)
    assert first.fingerprint() == second.fingerprint()


def test_a_changed_folder_is_listed_again(tmp_path):
    root = tmp_path / "data"
    fill(root, "a/1.jpg", "b/2.jpg")
    before = Folder(Folder.Config(), place=place(tmp_path, root))
    fill(root, "b/3.jpg")
    age(root / "b", LONG_AGO + 1)
    after = Folder(Folder.Config(), place=place(tmp_path, root))
    assert names(after) == ["a/1.jpg", "b/2.jpg", "b/3.jpg"]
    assert after.fingerprint() != before.fingerprint()
    assert names(before) == ["a/1.jpg", "b/2.jpg"], "an index in use is not pulled away"
    (root / "b/3.jpg").unlink()
    (root / "b/2.jpg").unlink()
    (root / "b").rmdir()
    assert names(Folder(Folder.Config(), place=place(tmp_path, root))) == ["a/1.jpg"]


def test_a_folder_that_changed_just_now_is_not_trusted(tmp_path, scans):
    root = tmp_path / "data"
    fill(root, "a.jpg")
    os.utime(root)
    Folder(Folder.Config(), place=place(tmp_path, root))
    scans.clear()
    Folder(Folder.Config(), place=place(tmp_path, root))
    assert scans == [str(root)]


@pytest.mark.parametrize("damage", ["empty", "cut", "flip", "text"])
def test_a_damaged_index_is_built_again(tmp_path, damage, scans):
    root = tmp_path / "data"
    fill(root, *(f"{i}.jpg" for i in range(20)))
    wanted = names(Folder(Folder.Config(), place=place(tmp_path, root)))
    (index,) = (tmp_path / "cache/indices").iterdir()
    raw = bytearray(index.read_bytes())
    if damage == "flip":
        raw[len(raw) // 2] ^= 4
    index.write_bytes({"empty": b"", "cut": raw[:-7], "flip": raw, "text": b"hello" * 99}[damage])
    scans.clear()
    assert names(Folder(Folder.Config(), place=place(tmp_path, root))) == wanted
    assert len(scans) == 1
    scans.clear()
    Folder(Folder.Config(), place=place(tmp_path, root))
    assert scans == [], "the renewed index holds"


def test_sources_travel_small(tmp_path):
    root = tmp_path / "data"
    fill(root, *(f"{'c' * 50}{i % 3}/{i:060d}.jpg" for i in range(500)))
    for cls in (Folder, ClassFolders):
        source = cls(cls.Config(), place=place(tmp_path, root))
        text = pickle.dumps(source)
        assert len(text) < 2500
        assert names(pickle.loads(text)) == names(source)


def test_two_processes_may_write_one_index(tmp_path):
    root = tmp_path / "data"
    fill(root, *(f"{i}.jpg" for i in range(300)))
    results = []
    for _ in range(4):
        read, write = os.pipe()
        if os.fork() == 0:
            try:
                source = Folder(Folder.Config(), place=place(tmp_path, root))
                os.write(write, source.fingerprint().encode())
            finally:
                os._exit(0)
        os.close(write)
        results.append(read)
    found = {os.read(read, 99) for read in results}
    for read in results:
        os.close(read)
        os.wait()
    assert len(found) == 1
    assert len(list((tmp_path / "cache/indices").iterdir())) == 1


def test_what_is_wrong_with_a_place_is_said(tmp_path):
    with pytest.raises(DataError, match=r"data\.root is not set.*JEPA_DATA"):
        Folder(Folder.Config(), place=place(tmp_path, None))
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        Folder(Folder.Config(), place=place(tmp_path, tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=r"\.jpg, \.png; found no file at all"):
        Folder(Folder.Config(), place=place(tmp_path, tmp_path / "empty"))
    fill(tmp_path / "texts", "a.txt", "b/c.txt", "b/d.csv", "README")
    with pytest.raises(DataError, match=r"found 4 files: 2 \.txt, 1 .*1 "):
        Folder(Folder.Config(), place=place(tmp_path, tmp_path / "texts"))
    with pytest.raises(DataError, match="this is a file"):
        Folder(Folder.Config(), place=place(tmp_path, tmp_path / "texts/a.txt"))


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path):
    fill(tmp_path / "data", "a.jpg")
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DataError, match="JEPA_CACHE"):
        Folder(Folder.Config(), place=place(tmp_path, tmp_path / "data"))


def test_class_folders_number_sorted_names(tmp_path):
    root = tmp_path / "data"
    fill(root, "b/1.jpg", "a/x/y/2.jpg", "a/3.jpg", "a-c/4.jpg", "a.d/5.jpg", "stray.jpg")
    source = ClassFolders(ClassFolders.Config(), place=place(tmp_path, root))
    assert source.classes == ("a", "a-c", "a.d", "b")
    items = [source.item(i) for i in range(len(source))]
    assert all(item.name.split("/")[0] == source.classes[item.label] for item in items)
    assert {item.name for item in items} == {
        "a/3.jpg", "a/x/y/2.jpg", "a-c/4.jpg", "a.d/5.jpg", "b/1.jpg"
    }  # fmt: skip
    labels = source.labels()
    assert labels.dtype == np.int64
    assert labels.tolist() == [item.label for item in items]


def test_class_folders_know_who_is_in_them(tmp_path):
    root = tmp_path / "data"
    fill(root, "b/ann_1.jpg", "a/bob_1.jpg", "a/ann_2.jpg", "a-c/bob_3.jpg", "a-c/deep/cy_1.jpg")
    config = ClassFolders.Config(groups=r"([a-z]+)_\d")
    source = ClassFolders(config, place=place(tmp_path, root))
    assert [item.name for item in map(source.item, range(5))] == [
        "a-c/bob_3.jpg", "a-c/deep/cy_1.jpg", "a/ann_2.jpg", "a/bob_1.jpg", "b/ann_1.jpg"
    ]  # fmt: skip
    assert source.groups().tolist() == [1, 2, 0, 1, 0]
    assert source.groups().dtype == np.int64
    plain = ClassFolders(ClassFolders.Config(), place=place(tmp_path, root))
    assert plain.groups() is None
    assert plain.fingerprint() == source.fingerprint(), "the samples are the same"
    other = ClassFolders(ClassFolders.Config(groups="(bob|ann)"), place=place(tmp_path, root))
    with pytest.raises(DataError, match=r"'\(bob\|ann\)' finds nothing in 'a-c/deep/cy_1.jpg'"):
        other.groups()


@pytest.mark.parametrize("text", ["[a-z]+_", "(a)(b)", "(a"])
def test_groups_of_class_folders_are_an_expression_with_one_group(text):
    with pytest.raises(FieldError, match="a regular expression with one group in parentheses"):
        ClassFolders.Config(groups=text)


def test_class_folders_want_samples_in_each(tmp_path):
    fill(tmp_path / "flat", "1.jpg", "2.jpg")
    with pytest.raises(DataError, match="2 samples, but no folder a class"):
        ClassFolders(ClassFolders.Config(), place=place(tmp_path, tmp_path / "flat"))
    fill(tmp_path / "hole", "a/1.jpg", "b/readme.txt")
    with pytest.raises(DataError, match="hold no sample: b"):
        ClassFolders(ClassFolders.Config(), place=place(tmp_path, tmp_path / "hole"))


def test_a_user_without_a_home_has_a_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    for name in ("JEPA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    config = load_run("image/quickstart").data
    assert cache_folder(config) == Path(tempfile.gettempdir()) / f"jepa-{os.getuid()}"
