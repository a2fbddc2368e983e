"""A SOURCE argument: every form that it may have, and what is said of others."""

import numpy as np
import pytest
from PIL import Image

from jepa.core.config import load_run
from jepa.core.errors import ConfigError, DataError
from jepa.evaluation.sources import read_source


@pytest.fixture
def tree(tmp_path):
    """Pictures in `data/{train,test}/{cat,dog}`: 4 and 2."""
    for split, number in (("train", 4), ("test", 2)):
        for place in range(number):
            folder = tmp_path / "data" / split / ("cat", "dog")[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("L", (28, 28), place).save(folder / f"{place}.png")
    return tmp_path / "data"


@pytest.fixture
def run_on(tmp_path):
    """The config of a run on the samples that the overrides name."""

    def make(*overrides):
        return load_run("image/quickstart", [f"data.cache={tmp_path / 'c'}", *overrides])

    return make


def names(source):
    return [source.item(index).name for index in range(len(source))]


def test_nothing_is_the_run_s_own(run_on, modality):
    for text in (None, ""):
        assert len(read_source(text, run_on(), modality, None)) == 8000
        assert len(read_source(text, run_on(), modality, "test")) == 2000
    own = run_on("data.split=test")
    assert len(read_source(None, own, modality, None)) == 2000
    assert len(read_source(None, own, modality, "train")) == 8000


def test_a_name_a_name_with_split_and_a_split(run_on, modality):
    config = run_on()
    assert len(read_source("fashion_mnist", config, modality, None)) == 8000
    assert len(read_source("fashion_mnist", config, modality, "test")) == 2000
    assert len(read_source("fashion_mnist:test", config, modality, "train")) == 2000
    assert len(read_source("anyjepa:fashion_mnist:test", config, modality, "train")) == 2000
    assert len(read_source("test", config, modality, "train")) == 2000


def test_a_folder_is_read_as_the_run_reads_or_as_files(tree, run_on, modality):
    train = str(tree / "train")
    own_brings = run_on()
    loose = read_source(train, own_brings, modality, "train")
    assert loose.labels() is None
    assert names(loose) == ["cat/0.png", "cat/2.png", "dog/1.png", "dog/3.png"]
    labelled = read_source(train, own_brings, modality, None, labelled=True)
    assert labelled.classes == ("cat", "dog")
    on_folder = run_on("data.source=folder", f"data.root={tree}")
    assert read_source(train, on_folder, modality, None).labels() is None
    assert read_source(train, on_folder, modality, None, labelled=True).classes == ("cat", "dog")
    on_classes = run_on("data.source=class_folders", f"data.root={tree}", "data.split=train")
    assert read_source(train, on_classes, modality, "test").classes == ("cat", "dog")


def test_loose_files_for_a_run_on_class_folders(tree, run_on, modality):
    config = run_on("data.source=class_folders", f"data.root={tree}", "data.split=train")
    assert len(read_source(str(tree / "train" / "cat"), config, modality, None)) == 2
    with pytest.raises(DataError, match="no folder a class"):
        read_source(str(tree / "train" / "cat"), config, modality, None, labelled=True)


def test_splits_and_names_of_a_run_with_a_root(tree, run_on, modality):
    config = run_on("data.source=class_folders", f"data.root={tree}", "data.split=train")
    assert len(read_source("test", config, modality, None)) == 2
    assert len(read_source("folder", config, modality, None)) == 6
    assert len(read_source("folder:test", config, modality, "train")) == 2
    # A root of the run's is none of a source that brings its own samples.
    assert len(read_source("fashion_mnist:test", config, modality, None)) == 2000
    assert len(read_source("{name: fashion_mnist}", config, modality, None)) == 8000


def test_a_path_goes_before_a_name(tree, run_on, modality, monkeypatch):
    monkeypatch.chdir(tree)
    assert len(read_source("train", run_on(), modality, None)) == 4
    assert len(read_source("{split: train}", run_on(), modality, None)) == 8000


def test_files_of_arrays(tmp_path, run_on, modality):
    samples = np.zeros((5, 28, 28), dtype=np.uint8)
    np.save(tmp_path / "a.npy", samples)
    np.savez(tmp_path / "b.npz", x=samples, y=np.arange(5), test_px=samples[:2])
    config = run_on()
    assert len(read_source(str(tmp_path / "a.npy"), config, modality, "train")) == 5
    with pytest.raises(DataError, match=r"--data: '.*a.npy' \(arrays\) has no labels"):
        read_source(str(tmp_path / "a.npy"), config, modality, None, labelled=True, where="--data")
    found = read_source(str(tmp_path / "b.npz"), config, modality, None, labelled=True)
    assert found.labels().tolist() == [0, 1, 2, 3, 4]
    text = f"{{name: arrays, samples: px, root: {tmp_path / 'b.npz'}, split: test}}"
    assert len(read_source(text, config, modality, "train")) == 2


def test_settings_of_the_run_s_own_source_are_kept(tmp_path, run_on, modality):
    np.savez(tmp_path / "a.npz", px=np.zeros((3, 28, 28), dtype=np.uint8))
    np.savez(tmp_path / "b.npz", px=np.zeros((4, 28, 28), dtype=np.uint8))
    config = run_on("data.source={name: arrays, samples: px}", f"data.root={tmp_path / 'a.npz'}")
    assert len(read_source(str(tmp_path / "b.npz"), config, modality, None)) == 4
    assert len(read_source(f"{{root: {tmp_path / 'b.npz'}}}", config, modality, None)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fashion_mnst:test", "no file or folder.*allowed: test, train; did you mean 'fashion_mn"),
        ("/no/such/folder", r"--data: found '/no/such/folder', which is no file or folder"),
        ("tset", "no split of the run's own source 'fashion_mnist'.*did you mean 'test'"),
        ("{name: fashion_mnst}", "--data: source.*did you mean 'fashion_mnist'"),
        ("{name: arrays, sample: x, root: /}", "source.sample: unknown key.*'samples'"),
        ("{name: fashion_mnist, root: /}", "root: found '/', but the source 'fashion_mnist'"),
        ("{name: 3}", "source.name: found 3"),
        ("{split: [a]}", "split: found .*allowed: text"),
        ("{split: test", "--data: line 1"),
    ],
)
def test_what_is_none_of_these(text, message, run_on, modality):
    with pytest.raises(ConfigError, match=message):
        read_source(text, run_on(), modality, None, where="--data")


def test_a_source_without_the_split(run_on, modality):
    with pytest.raises(DataError, match="found 'foo', allowed: test, train"):
        read_source("fashion_mnist:foo", run_on(), modality, "train")
    with pytest.raises(DataError, match="found 'foo', allowed: test, train"):
        read_source("{split: foo}", run_on(), modality, "train")
