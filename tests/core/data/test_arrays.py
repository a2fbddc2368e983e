from __future__ import annotations

import gzip
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from jepa.core.data.arrays import Arrays
from jepa.core.data.source import Place
from jepa.core.errors import DataError


def open_arrays(root: Path, split: str | None = None, **names: str) -> Arrays:
    where = Place(root=root, split=split, extensions=frozenset(), cache=root.parent / "cache")
    return Arrays(Arrays.Config(**names), place=where)


def pictures(n: int, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (n, 4, 5)).astype(dtype)


def idx(array: np.ndarray, code: int) -> bytes:
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (
        bytes([0, 0, code, array.ndim])
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def test_npz_with_splits(tmp_path):
    x, y = pictures(6), np.array([0, 2, 1, 1, 0, 2])
    path = tmp_path / "set.npz"
    np.savez(path, train_x=x, train_y=y, test_x=x[:2], classes=np.array(["a", "b", "c"]))
    source = open_arrays(path, "train")
    assert len(source) == 6
    assert source.classes == ("a", "b", "c")
    assert source.labels().dtype == np.int64
    item = source.item(1)
    assert item.label == 2
    np.testing.assert_array_equal(item.content, x[1])
    test = open_arrays(path, "test")
    assert test.labels() is None
    assert test.classes == ()
    assert test.fingerprint() != source.fingerprint()
    with pytest.raises(DataError, match="no array 'x'; it holds: train_x, train_y"):
        open_arrays(path)


@pytest.mark.parametrize("values", [["ann", "bob", "ann"], [7, 9, 7]])
def test_npz_with_groups(tmp_path, values):
    path = tmp_path / "set.npz"
    np.savez(path, train_x=pictures(3), train_y=[0, 1, 1], train_groups=values, test_x=pictures(2))
    source = open_arrays(path, "train")
    assert source.groups().tolist() == [0, 1, 0]
    assert source.groups().dtype == np.int64
    assert pickle.loads(pickle.dumps(source)).groups().tolist() == [0, 1, 0]
    assert open_arrays(path, "test").groups() is None
    assert open_arrays(path, "train", groups="who").groups() is None


@pytest.mark.parametrize("values", [[1, 2], [[1], [2], [3]], [0.5, 1.0, 2.0]])
def test_groups_of_an_npz_are_one_a_sample(tmp_path, values):
    np.savez(tmp_path / "set.npz", x=pictures(3), groups=values)
    with pytest.raises(DataError, match=r"found groups of .*: whole numbers or texts \[3\]"):
        open_arrays(tmp_path / "set.npz")


def test_npz_with_names_of_its_own(tmp_path):
    np.savez(tmp_path / "set.npz", images=pictures(3, "float32"), targets=np.array([0, 3, 1]))
    source = open_arrays(tmp_path / "set.npz", samples="images", labels="targets")
    assert source.classes == ("0", "1", "2", "3")
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.item(2).content, source.item(2).content)
    assert copy.fingerprint() == source.fingerprint()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "int64", "float16"])
def test_samples_may_be_any_numbers(tmp_path, dtype):
    np.save(tmp_path / "set.npy", pictures(3, dtype))
    assert open_arrays(tmp_path / "set.npy").item(1).content.dtype == dtype


def test_npy_is_mapped(tmp_path):
    np.save(tmp_path / "set.npy", pictures(3))
    source = open_arrays(tmp_path / "set.npy")
    assert isinstance(source.item(0).content, np.memmap)
    assert len(pickle.dumps(source)) < 1000
    with pytest.raises(DataError, match="no splits"):
        open_arrays(tmp_path / "set.npy", "train")


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_as_mnist_has_it(tmp_path, ending):
    write = gzip.compress if ending else bytes
    x, y = pictures(5), np.array([3, 0, 1, 2, 1], dtype=np.uint8)
    for start, n in (("train", 5), ("t10k", 2)):
        (tmp_path / f"{start}-images-idx3-ubyte{ending}").write_bytes(write(idx(x[:n], 8)))
        (tmp_path / f"{start}-labels-idx1-ubyte{ending}").write_bytes(write(idx(y[:n], 8)))
    source = open_arrays(tmp_path, "train")
    np.testing.assert_array_equal(np.stack([source.item(i).content for i in range(5)]), x)
    assert source.labels().tolist() == [3, 0, 1, 2, 1]
    assert len(open_arrays(tmp_path, "test")) == 2
    assert len(open_arrays(tmp_path / f"t10k-images-idx3-ubyte{ending}")) == 2
    with pytest.raises(DataError, match=r"found: t10k-images.*train-images"):
        open_arrays(tmp_path)


def test_idx_of_big_endian_floats_and_damage(tmp_path):
    x = pictures(2, "float32") / 255
    path = tmp_path / "a-idx3"
    path.write_bytes(idx(x, 0x0D))
    np.testing.assert_array_equal(open_arrays(path).item(1).content, x[1])
    path.write_bytes(idx(x, 0x0D)[:-1])
    with pytest.raises(DataError, match="its header announces 176"):
        open_arrays(path)
    path.write_bytes(b"\x1f\x8bnot gzip")
    with pytest.raises(DataError, match="cannot be read"):
        open_arrays(path)
    path.write_bytes(b"hello")
    with pytest.raises(DataError, match="no idx file"):
        open_arrays(path)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), "n > 0"),
        (np.zeros((3, 2), dtype=bool), np.zeros(3, int), "bool, allowed: integers, floats"),
        (np.zeros((3, 2), dtype="M8[s]"), np.zeros(3, int), "datetime64.*, allowed: integers"),
        (np.zeros((3, 2)), np.zeros(2, int), r"whole numbers \[3\]"),
        (np.zeros((3, 2)), np.zeros(3), "float64"),
        (np.zeros((3, 2)), np.array([0, 1, -1]), "labels from -1 to 1"),
        (np.array([[None], [2]], dtype=object), np.zeros(2, int), "cannot be read"),
    ],
)
def test_wrong_arrays_are_refused(tmp_path, x, y, message):
    np.savez(tmp_path / "set.npz", x=x, y=y)
    with pytest.raises(DataError, match=message):
        open_arrays(tmp_path / "set.npz")


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.csv").touch()
    with pytest.raises(DataError, match="allowed: an "):
        open_arrays(tmp_path / "a.csv")
    (tmp_path / "a.npz").write_bytes(b"PK but no zip")
    with pytest.raises(DataError, match="cannot be read"):
        open_arrays(tmp_path / "a.npz")
    for name in ("empty.npy", "empty.npz"):
        (tmp_path / name).touch()
        with pytest.raises(DataError, match="cannot be read"):
            open_arrays(tmp_path / name)
    np.save(tmp_path / "x.npy", pictures(2))
    np.savez(tmp_path / "y.npz", x=pictures(2))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    (tmp_path / "y.npz").rename(tmp_path / "y.npy")
    for name in ("x.npz", "y.npy"):
        with pytest.raises(DataError, match="not what the ending"):
            open_arrays(tmp_path / name)
    (tmp_path / "b-idx3").write_bytes(idx(pictures(2), 8)[:9])
    with pytest.raises(DataError, match="found 9 bytes, its header alone takes 16"):
        open_arrays(tmp_path / "b-idx3")
