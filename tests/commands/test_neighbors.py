"""`jepa neighbors`: who is found, who is left out, and the sheet."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from embedding_run import make_pictures, make_run
from PIL import Image

import jepa
from jepa import cli
from jepa.core.data.source import Item, Source
from jepa.evaluation.embedding import Embedder, Options
from jepa.evaluation.loading import find_checkpoint, load_backbone
from jepa.evaluation.neighbour_search import Searched, file_query, find_neighbours, row_query
from jepa.testing.toys import Given


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Twelve pictures; the tenth is a copy of the third."""
    folder = make_pictures(tmp_path / "pictures", 12, bad=(5,))
    (folder / "0009.png").write_bytes((folder / "0002.png").read_bytes())
    return folder


def neighbors(trained: Path, data: Path | str, tmp_path: Path, *more: str) -> int:
    output = ["--output", str(tmp_path / "out" / "sheet.png")]
    output += ["--json", str(tmp_path / "out" / "table.json")]
    return cli.main(["neighbors", str(trained), "--data", str(data), *output, *more])


def table(tmp_path: Path) -> list[dict]:
    return json.loads((tmp_path / "out" / "table.json").read_text())


def test_a_copy_is_found_first_and_the_query_is_left_out(trained, pictures, tmp_path, capsys):
    assert neighbors(trained, pictures, tmp_path, "--index", "2", "--k", "3") == 0
    (row,) = table(tmp_path)
    assert row["query"] == "0002.png"
    names = [near["name"] for near in row["neighbours"]]
    assert names[0] == "0009.png"
    assert len(names) == 3
    assert "0002.png" not in names
    assert row["neighbours"][0]["similarity"] == pytest.approx(1, abs=1e-5)
    assert row["neighbours"][0]["index"] == 9
    said = capsys.readouterr()
    assert "1.000  0009.png" in said.out
    assert str(tmp_path / "out" / "sheet.png") in said.out
    assert "1 samples cannot be decoded and are left out; the first, 0005.png" in said.err
    assert min(Image.open(tmp_path / "out" / "sheet.png").size) > 200


def test_similarities_are_those_of_load(trained, pictures, tmp_path):
    assert neighbors(trained, pictures, tmp_path, "--index", "0", "--k", "50") == 0
    (row,) = table(tmp_path)
    model = jepa.load(trained)
    with torch.inference_mode():
        query, *others = (
            model(model.transform(pictures / name)[None])
            for name in ["0000.png", *(near["name"] for near in row["neighbours"])]
        )
    expected = [float(F.cosine_similarity(query, other)) for other in others]
    assert len(others) == 10  # all but the query and the one that is damaged
    assert expected == sorted(expected, reverse=True)
    found = [near["similarity"] for near in row["neighbours"]]
    assert found == pytest.approx(expected, abs=1e-5)


def test_files_inside_and_outside_what_is_searched(trained, pictures, tmp_path):
    outside = tmp_path / "mine.png"
    outside.write_bytes((pictures / "0002.png").read_bytes())
    files = ["--query", str(outside), "--query", str(pictures / "0002.png"), "--k", "2"]
    assert neighbors(trained, pictures, tmp_path, *files) == 0
    first, second = table(tmp_path)
    assert {near["name"] for near in first["neighbours"]} == {"0002.png", "0009.png"}
    assert second["neighbours"][0]["name"] == "0009.png"
    assert "0002.png" not in [near["name"] for near in second["neighbours"]]


def test_a_file_of_many_samples_leaves_as_many_neighbours(trained, pictures):
    """Parts of the query's own file may fill the first places of the list."""
    frozen = load_backbone(find_checkpoint(trained).path)
    embedder = Embedder(frozen, torch.device("cpu"), Options())
    query = file_query(embedder, pictures / "0002.png")
    mine, others = 9, 5
    searched = Searched(
        source=Parts(pictures / "0002.png", pictures / "0003.png", mine, others),
        features=torch.cat([query.features.repeat(mine, 1), -torch.eye(others, 16)]),
        indices=np.arange(mine + others),
        names=[str(place) for place in range(mine + others)],
        labels=None,
        wholes=np.arange(mine + others),
    )
    for asked in (query, row_query(searched, embedder, 3)):
        for k, expected in ((1, 1), (4, 4), (20, others)):
            (found,) = find_neighbours(searched, [asked], k)
            assert len(found) == expected
            assert all(near.row >= mine for near in found)


def test_other_parts_of_the_query_are_no_neighbours(trained):
    """Where samples are arrays, the source alone knows what they are parts of."""
    frozen = load_backbone(find_checkpoint(trained).path)
    pixels = [np.full((28, 28), 20 * place, dtype=np.uint8) for place in range(8)]
    searched = Searched(
        source=Given(pixels),
        features=torch.eye(16)[:8] + 1,
        indices=np.arange(8),
        names=list("abcdefgh"),
        labels=None,
        wholes=np.array([0, 0, 1, 1, 0, 2, 2, 2]),
    )
    query = row_query(searched, Embedder(frozen, torch.device("cpu"), Options()), 1)
    (found,) = find_neighbours(searched, [query], 20)
    assert sorted(near.row for near in found) == [2, 3, 5, 6, 7]


class Parts(Source):
    """So many samples of one file, then so many of another."""

    def __init__(self, first: Path, second: Path, mine: int, others: int) -> None:
        self._items = [first] * mine + [second] * others

    def __len__(self) -> int:
        return len(self._items)

    def item(self, index: int) -> Item:
        return Item(self._items[index], str(index))

    @property
    def classes(self) -> tuple[str, ...]:
        return ()

    def labels(self) -> None:
        return None

    def fingerprint(self) -> str:
        return "parts"


def test_random_queries_are_the_same_again_and_have_classes(trained, tmp_path):
    samples = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    classes = np.array(["Bag", "Sneaker"])
    np.savez(tmp_path / "data.npz", x=samples, y=np.arange(40) % 2, classes=classes)
    assert neighbors(trained, tmp_path / "data.npz", tmp_path) == 0
    drawn = table(tmp_path)
    assert len(drawn) == 6
    assert len({row["query"] for row in drawn}) == 6
    assert all(len(row["neighbours"]) == 8 for row in drawn)
    assert {"Bag", "Sneaker"} == {near["class"] for row in drawn for near in row["neighbours"]}
    assert neighbors(trained, tmp_path / "data.npz", tmp_path, "--queries", "2") == 0
    assert table(tmp_path) == drawn[:2]


def test_frames_tell_the_class(trained, tmp_path):
    """Two classes of two equal pictures each: one neighbour is right, two are not."""
    samples = np.zeros((4, 28, 28), dtype=np.uint8)
    samples[:2, :14], samples[2:, 14:] = 255, 255
    np.savez(tmp_path / "data.npz", x=samples, y=np.array([0, 0, 1, 1]))
    more = ["--index", "0", "--k", "3"]
    assert neighbors(trained, tmp_path / "data.npz", tmp_path, *more) == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / "sheet.png").convert("RGB")).astype(int)
    green, red = (
        int((np.abs(sheet - colour).sum(-1) < 30).sum())
        for colour in ((22, 128, 60), (208, 48, 48))
    )
    assert [near["class"] for near in table(tmp_path)[0]["neighbours"]] == ["0", "1", "1"]
    assert green > 0
    assert red > green  # two, though dashed


def test_features_of_embed_save_the_work(trained, pictures, tmp_path, monkeypatch, capsys):
    features = tmp_path / "f.npz"
    embed = ["embed", "--data", str(pictures), "--output", str(features), "--overwrite"]
    assert cli.main([*embed, str(trained)]) == 0
    assert neighbors(trained, pictures, tmp_path, "--index", "2") == 0
    made = table(tmp_path)

    def refuse(*_):
        raise AssertionError("the source is embedded anew")

    monkeypatch.setattr("jepa.evaluation.neighbour_search.embed_source", refuse)
    given = ["--index", "2", "--features", str(features)]
    assert neighbors(trained, pictures, tmp_path, *given) == 0
    assert table(tmp_path) == made
    assert neighbors(trained, "test", tmp_path, *given) == 1
    assert "its source is " in capsys.readouterr().err
    assert neighbors(trained, pictures, tmp_path, *given, "--layers", "2") == 1
    assert "its layers is 1, wanted: 2" in capsys.readouterr().err
    assert cli.main([*embed, str(make_run(tmp_path / "other", seed=1))]) == 0
    assert neighbors(trained, pictures, tmp_path, *given) == 1
    assert "its checkpoint is " in capsys.readouterr().err
    features.write_text("no zip")
    assert neighbors(trained, pictures, tmp_path, *given) == 1
    assert "no .npz of `jepa embed`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--index", "12"], 2, "--index: found 12, allowed: 0 to 11"),
        (["--index", "-1"], 2, "--index: found -1, allowed: 0 to 11"),
        (["--index", "5"], 1, "sample 5 cannot be decoded"),
        (["--query", "/no/such.png"], 2, "--query: /no/such.png: no such file"),
        (["--query", __file__], 1, "test_neighbors.py: cannot be decoded"),
    ],
)
def test_queries_that_are_none(trained, pictures, tmp_path, capsys, more, code, message):
    assert neighbors(trained, pictures, tmp_path, *more) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out" / "sheet.png").exists()
