"""Rendered scenes as samples: what is drawn, what is said of it, and training on it."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jepa import cli
from jepa.core.config import DataConfig, load_run
from jepa.core.data import open_source
from jepa.core.data.loading import evaluation_batches, load
from jepa.core.data.source import Measured, Place
from jepa.core.errors import ConfigError, DataError
from jepa.core.settings import structure
from jepa.modalities.image import ImageModality
from jepa.modalities.image.scenes import Scenes
from jepa.modalities.image.scenes.palette import ALBEDO, COLOURS, GAMMA
from jepa.modalities.image.scenes.source import NEAREST

LABELS = ("count", "nearest", "shape", "colour")


def open_scenes(cache: Path, split: str | None = None, **settings: object) -> Scenes:
    where = Place(root=None, split=split, extensions=frozenset(), cache=cache)
    return Scenes(Scenes.Config(**settings), place=where)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the tests that only read, so that scenes are laid out once."""
    return tmp_path_factory.mktemp("cache")


# --- a function of (seed, split, index) -----------------------------------------------------------


def test_a_scene_is_a_function_of_seed_split_and_index(tmp_path):
    one = open_scenes(tmp_path / "a")
    longer = open_scenes(tmp_path / "b", samples=10**7, label=None, cached=0)
    for index in (0, 17, 19_999):
        assert np.array_equal(one.item(index).content, longer.item(index).content)
        assert one.scene(index) == longer.scene(index)
    assert longer.item(9_999_999).content.shape == (64, 64, 3)
    others = [
        open_scenes(tmp_path, seed=1),
        open_scenes(tmp_path, "test"),
        open_scenes(tmp_path, max_objects=9),
    ]
    for other in others:
        pairs = [(one.item(index), other.item(index)) for index in range(5)]
        assert not all(np.array_equal(a.content, b.content) for a, b in pairs)
        assert other.fingerprint() != one.fingerprint()


def test_no_scene_comes_twice_and_the_splits_share_none(cache):
    seen = {
        (split, index): open_scenes(cache, split).scene(index).camera
        for split in ("train", "test")
        for index in range(300)
    }
    assert len(set(seen.values())) == 600


def test_the_fingerprint_tells_samples_apart_and_draws_nothing(tmp_path):
    nowhere = tmp_path / "nowhere"
    settings = [{}, {"samples": 10}, {"seed": 1}, {"size": 96}, {"label": "shape"}, {"label": None}]
    found = [open_scenes(nowhere, **chosen).fingerprint() for chosen in settings]
    assert len(set(found)) == len(settings)
    assert open_scenes(nowhere, cached=0).fingerprint() == found[0]
    assert open_scenes(nowhere, "train").fingerprint() == found[0]
    assert not nowhere.exists()


def test_what_is_drawn_belongs_to_its_version(cache):
    """A change of what is drawn needs a new `source.VERSION`, or old caches would be read."""
    source = open_scenes(cache)
    means = [source.item(index).content.mean((0, 1)) for index in range(3)]
    np.testing.assert_allclose(means, GOLDEN_MEANS, atol=0.05)


GOLDEN_MEANS = [
    [167.669, 160.430, 173.123],
    [150.469, 159.740, 152.765],
    [179.269, 175.494, 171.558],
]


# --- what is said of a scene is what is drawn -----------------------------------------------------


def test_count_and_nearest_agree_with_the_picture(cache):
    source = open_scenes(cache, "test")
    counts, nearest = source.quantity("count"), source.quantity("nearest")
    for index in range(60):
        ids, depth = source.ids(index), source.depth(index)
        assert ids.shape == depth.shape == (64, 64)
        assert depth.dtype == np.float32
        assert len(np.unique(ids[ids >= 0])) == counts[index] == len(source.scene(index).solids)
        assert source.classes[source.item(index).label] == f"{counts[index]:.0f}"
        # The nearest point lies within half a pixel, about 0.045 units, of a pixel's centre.
        assert nearest[index] - 1e-4 <= depth[ids >= 0].min() <= nearest[index] + 0.1


def test_depth_of_the_plane_is_that_of_the_plane(cache):
    source = open_scenes(cache, "test")
    for index in range(10):
        ids, depth, camera = source.ids(index), source.depth(index), source.scene(index).camera
        rays = camera.rays(64)
        below = camera.place[2] + depth / rays.length * rays.z  # height of what is seen
        assert np.abs(below[ids < 0]).max() < 1e-4
        assert below[ids >= 0].min() > -1e-4
        assert below[ids >= 0].max() < 2 * 0.76 + 1e-4
        assert (np.diff(np.where(ids < 0, depth, np.nan), axis=0) < 0).sum() > 1000


def test_an_object_has_its_colour_where_its_id_stands(cache):
    source = open_scenes(cache, "test")
    directions = ALBEDO / np.linalg.norm(ALBEDO, axis=1, keepdims=True)
    asked = right = 0
    for index in range(40):
        ids = source.ids(index)
        light = (source.item(index).content / 255.0) ** GAMMA
        for number, solid in enumerate(source.scene(index).solids):
            if (ids == number).sum() < 40:
                continue
            pixel = np.median(light[ids == number], axis=0)
            asked += 1
            right += COLOURS[(directions @ pixel).argmax()] == COLOURS[solid.colour]
    assert asked > 150
    assert right > 0.97 * asked


def test_depth_and_picture_lie_on_each_other(cache):
    """Edges of the picture stand where the ids change, not a pixel beside."""
    source = open_scenes(cache, "test")

    def agreement(shift: tuple[int, int]) -> float:
        total = 0.0
        for index in range(20):
            grey = source.item(index).content.astype(float).sum(2)
            edges = (source.ids(index)[:, 1:] != source.ids(index)[:, :-1]).astype(float)
            total += (np.roll(edges, shift, (0, 1)) * np.abs(np.diff(grey, axis=1))).sum()
        return total

    beside = [agreement(shift) for shift in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1))]
    assert agreement((0, 0)) > 1.1 * max(beside)


def test_size_changes_the_picture_and_no_label(cache):
    small, large = (open_scenes(cache, "test", size=size, test_samples=40) for size in (64, 160))
    assert np.array_equal(small.labels(), large.labels())
    fine = large.item(3).content.astype(float)
    assert fine.shape == (160, 160, 3)
    coarse = fine.reshape(32, 5, 32, 5, 3).mean((1, 3))
    same = small.item(3).content.astype(float).reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(coarse - same).mean() < 2


# --- labels and quantities ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "classes", "low", "high"),
    [
        ("count", 8, 0.10, 0.15),
        ("nearest", 6, 0.12, 0.22),
        ("shape", 3, 0.28, 0.39),
        ("colour", 8, 0.10, 0.15),
    ],
)
def test_every_class_is_about_as_frequent(cache, label, classes, low, high):
    source = open_scenes(cache, "test", label=label)
    labels = source.labels()
    assert labels.dtype == np.int64
    assert labels.shape == (len(source),) == (2000,)
    assert len(source.classes) == classes
    shares = np.bincount(labels, minlength=classes) / len(labels)
    assert len(shares) == classes
    assert low < shares.min()
    assert shares.max() < high
    assert [source.item(index).label for index in range(20)] == labels[:20].tolist()


def test_shape_and_colour_are_those_of_the_nearest_object(cache):
    shape, colour = (open_scenes(cache, "test", label=label) for label in ("shape", "colour"))
    for index in range(100):
        depth, ids = shape.depth(index), shape.ids(index)
        depth[ids < 0] = np.inf
        solids = shape.scene(index).solids
        second = sorted(shape.scene(index).distances())[1]
        if second - depth.min() < 0.1:
            continue  # too near to be told on so few pixels
        nearest = solids[ids.flat[depth.argmin()]]
        assert shape.classes[shape.labels()[index]] == nearest.shape.name.lower()
        assert colour.classes[colour.labels()[index]] == COLOURS[nearest.colour]


def test_quantities(cache):
    source = open_scenes(cache, "test")
    assert isinstance(source, Measured)
    found = {name: source.quantity(name) for name in source.quantities}
    assert all(v.shape == (2000,) and v.dtype == np.float64 for v in found.values())
    assert set(found["count"]) == set(range(3, 11))
    assert 6 < found["nearest"].min() < NEAREST[0] < NEAREST[-1] < found["nearest"].max() < 15
    assert (found["metal"] <= found["count"]).all()
    assert 0.4 < found["metal"].sum() / found["count"].sum() < 0.6
    assert found["hidden"].min() == 0
    assert 0.2 < found["hidden"].max() <= 0.4
    nearest = open_scenes(cache, "test", label="nearest")
    expected = np.searchsorted(NEAREST, found["nearest"], side="right")
    assert np.array_equal(nearest.labels(), expected)
    assert nearest.classes[0] == f"below {NEAREST[0]}"
    assert nearest.classes[-1] == f"from {NEAREST[-1]}"
    with pytest.raises(DataError, match=r"found 'neerest', allowed: .*did you mean 'nearest'"):
        source.quantity("neerest")


def test_without_a_label_there_is_none(cache):
    source = open_scenes(cache, samples=5_000_000, label=None)
    assert source.labels() is None
    assert source.classes == ()
    assert source.item(0).label is None
    assert source.item(4_999_999).content.shape == (64, 64, 3)


def test_a_fixed_number_of_objects(tmp_path):
    for number in (1, 10):
        settings = {"min_objects": number, "max_objects": number, "test_samples": 30}
        source = open_scenes(tmp_path, "test", **settings)
        assert source.classes == (str(number),)
        assert source.quantity("count").tolist() == [number] * 30
        assert source.labels().tolist() == [0] * 30


# --- settings, loading, training ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{max_objects: 11}", "data.source.max_objects: found 11, allowed: 1 to 10"),
        ("{min_objects: 0}", "data.source.min_objects: found 0, allowed: 1 to 10"),
        ("{min_objects: 6, max_objects: 5}", "found 6, allowed: at most max_objects, 5"),
        ("{size: 16}", "data.source.size: found 16, allowed: 32 to 512 pixels"),
        ("{label: color}", "data.source.label: found 'color', allowed: .*'colour'"),
        ("{samples: 300000}", "samples: found 300000, allowed: at most 200000 with .*label: null"),
        ("{test_samples: 300000}", "data.source.test_samples: found 300000"),
        ("{samples: 0}", "data.source.samples: found 0, allowed: above 0"),
        ("{cached: -1}", "data.source.cached: found -1, allowed: 0 or more"),
        ("{sise: 64}", "did you mean 'size'"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    chosen = settings.replace("{", "data.source={name: scenes, ")
    with pytest.raises(ConfigError, match=message):
        load_run("image/scenes", [chosen])


def test_a_wrong_split_and_a_root_are_refused(tmp_path, capsys):
    with pytest.raises(DataError, match="found 'tset', allowed: test, train; did you mean 'test'"):
        open_scenes(tmp_path, "tset")
    command = ["train", "--config", "image/scenes", "--output", str(tmp_path / "run")]
    assert cli.main([*command, f"data.root={tmp_path}"]) == 2
    assert "data.root" in capsys.readouterr().err


def test_it_travels_small_and_loads_in_workers(tmp_path):
    raw = {"source": {"name": "scenes", "size": 32, "samples": 64}, "cache": str(tmp_path)}
    modality = ImageModality(ImageModality.Config(size=(32, 32), eval_crop=1.0))
    source = open_source(structure(raw, DataConfig), modality)
    source.labels()
    text = pickle.dumps(source)
    assert len(text) < 1000
    assert pickle.loads(text).fingerprint() == source.fingerprint()
    assert np.array_equal(pickle.loads(text).labels(), source.labels())

    def run(workers: int) -> list[torch.Tensor]:
        loaded = load(
            source, modality, seed=0, global_batch=8, start=0, count=8, first_step=0,
            last_step=6, workers=workers, prefetch=2, pin_memory=False,
        )  # fmt: skip
        return [batch.inputs for batch in loaded]

    for a, b in zip(run(0), run(2), strict=True):
        assert torch.equal(a, b)
    batch = next(evaluation_batches(source, modality, 4, 0, indices=[63, 0]))
    assert batch.labels.tolist() == source.labels()[[63, 0]].tolist()
    picture = np.asarray(source.item(0).content)
    assert np.array_equal(batch.inputs[1].permute(1, 2, 0).numpy(), picture)


def test_training_on_millions_needs_no_label_and_keeps_the_disk_small(tmp_path):
    command = ["train", "--config", "image/scenes", "--output", str(tmp_path / "run")]
    tiny = [
        "model.dim=16",
        "model.encoder.depth=1",
        "model.encoder.heads=2",
        "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
        "train={global_batch: 8, max_steps: 3, log_every: 1, device: cpu}",
        "data.workers=0",
        "data.source.samples=5000000",
        "data.source.label=null",
        "data.source.cached=16",
        f"data.cache={tmp_path / 'cache'}",
    ]
    assert cli.main([*command, *tiny]) == 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in kept if path.name.startswith("facts")]
    assert sum(path.stat().st_size for path in kept) < 17 * 64 * 64 * 3


def test_the_python_of_the_docs_works(tmp_path, monkeypatch):
    page = Path(__file__).parents[3] / "docs" / "scenes.md"
    if not page.is_file():
        pytest.skip("docs are in a checkout, not in a wheel")
    (text,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(text, scope)
    assert scope["picture"].shape == (64, 64, 3)
    assert scope["depth"].shape == scope["ids"].shape == (64, 64)
    assert scope["ids"].max() + 1 == len(scope["objects"])
