from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from jepa.core.config import DataConfig
from jepa.core.data import open_source
from jepa.core.data.loading import evaluation_batches, load
from jepa.core.data.source import Place
from jepa.core.errors import DataError
from jepa.core.settings import structure
from jepa.modalities.image import ImageModality, embedded
from jepa.modalities.image.embedded import FashionMnist


def open_set(split: str | None = None) -> FashionMnist:
    where = Place(root=None, split=split, extensions=frozenset(), cache=Path("/nowhere"))
    return FashionMnist(FashionMnist.Config(), place=where)


def test_both_splits_are_balanced():
    for split, n in ((None, 8000), ("train", 8000), ("test", 2000)):
        source = open_set(split)
        assert len(source) == n
        assert np.bincount(source.labels()).tolist() == [n // 10] * 10
        assert len(source.classes) == 10
        item = source.item(n - 1)
        assert item.content.shape == (28, 28)
        assert item.content.dtype == np.uint8
        assert item.label == source.labels()[-1]
    assert open_set("train").fingerprint() != open_set("test").fingerprint()
    with pytest.raises(DataError, match="found 'tset', allowed: test, train; did you mean 'test'"):
        open_set("tset")


def test_its_licence_travels_with_it():
    text = Path(embedded.__file__).with_name("LICENSE-MIT.txt").read_text()
    assert "MIT License" in text
    assert "Zalando" in text


def test_it_travels_small():
    source = open_set("test")
    text = pickle.dumps(source)
    assert len(text) < 1000
    assert pickle.loads(text).fingerprint() == source.fingerprint()


def test_it_loads_through_the_config(tmp_path, monkeypatch):
    monkeypatch.setenv("JEPA_CACHE", str(tmp_path))
    config = structure({"source": "fashion_mnist"}, DataConfig)
    modality = ImageModality(ImageModality.Config(size=(28, 28), channels=1, eval_crop=1.0))
    source = open_source(config, modality)
    assert len(source) == 8000
    assert len(open_source(config, modality, split="test")) == 2000
    loaded = next(
        load(
            source, modality, seed=0, global_batch=32, start=8, count=16, first_step=3,
            last_step=5, workers=1, prefetch=2, pin_memory=False,
        )
    )  # fmt: skip
    assert loaded.step == 3
    assert loaded.inputs.shape == (16, 1, 28, 28)
    assert loaded.inputs.dtype == torch.uint8
    assert loaded.bad == ()
    batch = next(evaluation_batches(source, modality, 4, 0, indices=[7999, 0]))
    assert batch.labels.tolist() == source.labels()[[7999, 0]].tolist()
    np.testing.assert_array_equal(batch.inputs[1, 0].numpy(), source.item(0).content)


def test_corrupt_files_are_replaced_whatever_the_number_of_workers(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i:02d}.jpg")
    for i in (3, 17):
        path = tmp_path / f"{i:02d}.jpg"
        path.write_bytes(path.read_bytes()[:700])
    (tmp_path / "09.jpg").write_text("no picture")
    raw = {"source": "folder", "root": str(tmp_path), "cache": str(tmp_path / "cache")}
    modality = ImageModality(ImageModality.Config(size=(32, 32)))
    source = open_source(structure(raw, DataConfig), modality)

    def run(workers: int) -> list:
        return list(
            load(
                source, modality, seed=0, global_batch=8, start=0, count=8, first_step=0,
                last_step=9, workers=workers, prefetch=2, pin_memory=False,
            )
        )  # fmt: skip

    alone = run(0)
    assert {bad.name for loaded in alone for bad in loaded.bad} == {"03.jpg", "09.jpg", "17.jpg"}
    for workers in (1, 4):
        for a, b in zip(alone, run(workers), strict=True):
            assert torch.equal(a.inputs, b.inputs)
            assert a.bad == b.bad
