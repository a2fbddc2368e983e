"""`jepa embed`: the right numbers beside the right names, whatever stops it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from embedding_run import make_pictures, make_run

import jepa
from jepa import cli
from jepa.evaluation import embedding
from jepa.evaluation.embedding import Embedder
from jepa.evaluation.partial import Partial


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture
def small_shards(monkeypatch):
    """Two batches of four a shard."""
    monkeypatch.setattr(embedding, "_SHARD_ROWS", 8)


def embed(trained: Path, data: Path | str, output: Path, *more: str) -> int:
    return cli.main(
        ["embed", str(trained), "--data", str(data), "--output", str(output), "--batch", "4", *more]
    )


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def expected(trained: Path, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Pooled and token features by the three lines of the docs."""
    model = jepa.load(trained)
    inputs = torch.stack([model.transform(file) for file in files])
    with torch.inference_mode():
        return model(inputs).numpy(), model.tokens(inputs).numpy()


# --- values -------------------------------------------------------------------------------------


def test_a_folder_gives_what_load_gives(trained, tmp_path, small_shards, capsys):
    folder = make_pictures(tmp_path / "pictures", 19)
    assert embed(trained, folder, tmp_path / "out" / "f.npz") == 0
    found = read(tmp_path / "out" / "f.npz")
    files = sorted(folder.iterdir())
    assert found["names"].tolist() == [file.name for file in files]
    assert found["indices"].tolist() == list(range(19))
    assert found["features"].dtype == np.float32
    pooled, tokens = expected(trained, files)
    np.testing.assert_allclose(found["features"], pooled, atol=2e-5)
    assert "labels" not in found
    assert json.loads(str(found["about"]))["samples"] == 19
    assert "f.npz: [19, 16] float32" in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["f.npz"]

    assert embed(trained, folder, tmp_path / "tokens.npz", "--per-token") == 0
    np.testing.assert_allclose(read(tmp_path / "tokens.npz")["features"], tokens, atol=2e-5)


def test_labels_and_classes_of_another_split(trained, tmp_path):
    assert embed(trained, "test", tmp_path / "f.npz", "--batch", "256") == 0
    found = read(tmp_path / "f.npz")
    assert len(found["features"]) == 2000
    assert np.bincount(found["labels"]).tolist() == [200] * 10
    assert found["classes"][found["labels"][0]] == "Ankle boot"  # as the set has it
    assert found["names"][7] == "fashion_mnist/test/7"


def test_layers_are_concatenated_and_halves_are_rounded(trained, tmp_path, capsys):
    folder = make_pictures(tmp_path / "pictures", 5)
    assert embed(trained, folder, tmp_path / "one.npz") == 0
    assert embed(trained, folder, tmp_path / "four.npz", "--layers", "4") == 0
    assert embed(trained, folder, tmp_path / "half.npz", "--dtype", "float16") == 0
    one, four, half = (read(tmp_path / f"{n}.npz")["features"] for n in ("one", "four", "half"))
    assert four.shape == (5, 64)
    np.testing.assert_array_equal(four[:, 48:], one)
    assert not np.allclose(four[:, :16], one)
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, one.astype(np.float16))
    assert embed(trained, folder, tmp_path / "five.npz", "--layers", "5") == 2
    assert "--layers: found 5, allowed: 1 to 4" in capsys.readouterr().err
    assert not list(tmp_path.glob("five*"))


def test_deviations_over_the_tokens_follow_their_means(trained, tmp_path, capsys):
    folder = make_pictures(tmp_path / "pictures", 5)
    assert embed(trained, folder, tmp_path / "tokens.npz", "--per-token") == 0
    assert embed(trained, folder, tmp_path / "both.npz", "--pool", "mean_std") == 0
    tokens, both = (read(tmp_path / f"{n}.npz")["features"] for n in ("tokens", "both"))
    expected = np.concatenate([tokens.mean(1), tokens.std(1)], 1)
    np.testing.assert_allclose(both, expected, atol=1e-5)
    wrong = tmp_path / "wrong.npz"
    assert embed(trained, folder, wrong, "--per-token", "--pool", "mean_std") == 2
    assert "--pool: found mean_std beside --per-token" in capsys.readouterr().err
    assert not list(tmp_path.glob("wrong*"))


def test_processes_that_decode_change_nothing(trained, tmp_path, small_shards):
    folder = make_pictures(tmp_path / "pictures", 11)
    assert embed(trained, folder, tmp_path / "a.npz") == 0
    assert embed(trained, folder, tmp_path / "b.npz", "data.workers=2") == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_snippet_of_the_docs(trained, tmp_path, monkeypatch):
    page = Path(jepa.__file__).parents[1] / "docs" / "embed.md"
    if not page.is_file():
        pytest.skip("docs are in a checkout, not in a wheel")
    (snippet,) = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.S | re.M)
    monkeypatch.chdir(tmp_path)
    assert embed(trained, make_pictures(tmp_path / "pictures", 3), Path("features.npz")) == 0
    scope: dict[str, Any] = {}
    exec(snippet, scope)
    assert scope["features"].shape == (3, 16)
    assert scope["names"].tolist() == ["0000.png", "0001.png", "0002.png"]


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--per-token"]])
def test_every_format_holds_the_same(trained, tmp_path, small_shards, more):
    samples = np.random.default_rng(0).integers(0, 256, (13, 28, 28), dtype=np.uint8)
    labels = np.arange(13) % 2
    np.savez(tmp_path / "data.npz", x=samples, y=labels, classes=np.array(["cat", "dog\n"]))
    for ending in ("npz", "npy", "parquet"):
        assert embed(trained, tmp_path / "data.npz", tmp_path / f"f.{ending}", *more) == 0
    found = read(tmp_path / "f.npz")
    np.testing.assert_array_equal(found["labels"], labels)

    np.testing.assert_array_equal(np.load(tmp_path / "f.npy"), found["features"])
    np.testing.assert_array_equal(np.load(tmp_path / "f.labels.npy"), labels)
    assert (tmp_path / "f.classes.txt").read_text().splitlines() == ["cat", "dog\\n"]
    names = (tmp_path / "f.names.txt").read_text().splitlines()
    assert names == found["names"].tolist() == [f"data.npz[{place}]" for place in range(13)]

    table = pq.read_table(tmp_path / "f.parquet")
    row = json.loads(table.schema.metadata[b"jepa"])["row"]
    features = np.stack(table["feature"].to_numpy()).reshape(-1, *row)
    np.testing.assert_array_equal(features, found["features"])
    assert table["name"].to_pylist() == names
    assert table["index"].to_pylist() == list(range(13))
    assert table["label"].to_pylist() == labels.tolist()
    assert table["class"].to_pylist()[:2] == ["cat", "dog\n"]


def test_names_that_are_no_text(trained, tmp_path):
    folder = make_pictures(tmp_path / "pictures", 2)
    odd = (os.fsdecode(b"\xff.png"), "a\nb.png")
    for old, new in zip(sorted(folder.iterdir()), odd, strict=True):
        old.rename(folder / new)
    for ending in ("npz", "npy", "parquet"):
        assert embed(trained, folder, tmp_path / f"f.{ending}") == 0
    assert set(read(tmp_path / "f.npz")["names"].tolist()) == set(odd)
    assert (tmp_path / "f.names.txt").read_text() == "a\\nb.png\n\\udcff.png\n"
    table = pq.read_table(tmp_path / "f.parquet")
    assert table["name"].to_pylist() == ["a\nb.png", "\\udcff.png"]


def test_a_missing_library_is_said_before_any_work(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert embed(trained, "test", tmp_path / "f.parquet") == 2
    assert "pip install 'anyjepa[parquet]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --- what stops it ------------------------------------------------------------------------------

_KILLED = """
import os, signal, sys
from jepa import cli
from jepa.evaluation import embedding
from jepa.evaluation.partial import Partial

embedding._SHARD_ROWS = 8
add = Partial.add

def killed(self, rows):
    if self.samples_done == 16:
        os.kill(os.getpid(), signal.SIGKILL)
    add(self, rows)

Partial.add = killed
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize("ending", ["npz", "npy", "parquet"])
def test_ctrl_c_and_the_same_command_again(
    trained, tmp_path, small_shards, monkeypatch, capsys, ending
):
    folder = make_pictures(tmp_path / "pictures", 29, bad=(3, 9))
    whole, output = tmp_path / f"whole.{ending}", tmp_path / f"f.{ending}"
    assert embed(trained, folder, whole) == 0
    add = Partial.add

    def interrupt(self, rows):
        add(self, rows)
        if self.samples_done in (8, 24):
            raise KeyboardInterrupt

    monkeypatch.setattr(Partial, "add", interrupt)
    assert embed(trained, folder, output) == 130
    said = capsys.readouterr().err
    assert "8 of 29 samples are in" in said
    assert "the same command goes on" in said
    assert not output.exists()
    assert embed(trained, folder, output) == 130
    assert embed(trained, folder, output) == 0
    assert "going on: 24 of 29" in capsys.readouterr().err
    assert output.read_bytes() == whole.read_bytes()
    assert not Path(f"{output}.partial").exists()


def test_a_kill_loses_one_shard(trained, tmp_path, small_shards, capsys):
    folder = make_pictures(tmp_path / "pictures", 29)
    whole, output = tmp_path / "whole.npz", tmp_path / "f.npz"
    assert embed(trained, folder, whole) == 0
    arguments = ["embed", str(trained), "--data", str(folder), "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, *arguments, "--batch", "4"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == -9
    assert not output.exists()
    assert embed(trained, folder, output) == 0
    assert "going on: 16 of 29" in capsys.readouterr().err
    assert output.read_bytes() == whole.read_bytes()


def test_what_cannot_be_decoded_is_named(trained, tmp_path, small_shards, monkeypatch, capsys):
    """In the middle, at both ends, and where nothing else is left to do."""
    bad = (0, 5, *range(16, 21))
    folder = make_pictures(tmp_path / "pictures", 21, bad=bad)
    output = tmp_path / "f.npz"
    add = Partial.add

    def interrupt(self, rows):
        add(self, rows)
        if self.samples_done == 16:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "add", interrupt)
        assert embed(trained, folder, output) == 130
    assert embed(trained, folder, output) == 0
    said = capsys.readouterr().err
    assert "7 samples cannot be decoded" in said
    assert "0005.png: DecodeError" in said
    found = read(output)
    assert found["indices"].tolist() == [i for i in range(21) if i not in bad]
    assert found["names"][0] == "0001.png"
    listed = (tmp_path / "f.left_out.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [f"{i:04d}.png" for i in bad]


def test_nothing_can_be_decoded(trained, tmp_path, capsys):
    folder = make_pictures(tmp_path / "pictures", 3, bad=(0, 1, 2))
    assert embed(trained, folder, tmp_path / "out" / "f.npz") == 1
    assert "none of 3 samples can be decoded; the first, 0000.png" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


def test_rows_of_another_command_are_not_taken(
    trained, tmp_path, small_shards, monkeypatch, capsys
):
    folder = make_pictures(tmp_path / "pictures", 21)
    output = tmp_path / "f.npz"
    add = Partial.add

    def interrupt(self, rows):
        add(self, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "add", interrupt)
        assert embed(trained, folder, output) == 130
    other = make_run(tmp_path / "other", seed=1)
    (folder / "9999.png").write_bytes((folder / "0000.png").read_bytes())
    assert embed(trained, folder, output) == 1
    assert "samples: found 21, now 22" in capsys.readouterr().err
    (folder / "9999.png").unlink()
    whole = (folder / "0005.png").read_bytes()
    times = (folder / "0005.png").stat()
    (folder / "0005.png").write_bytes((folder / "0006.png").read_bytes())
    assert embed(trained, folder, output) == 1  # the same names, another content
    assert "source: found " in capsys.readouterr().err
    (folder / "0005.png").write_bytes(whole)
    os.utime(folder / "0005.png", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert embed(trained, folder, output, "--layers", "2") == 1
    assert "layers: found 1, now 2" in capsys.readouterr().err
    assert embed(other, folder, output) == 1
    assert "checkpoint: found " in capsys.readouterr().err
    assert embed(other, folder, output, "--overwrite") == 0
    assert "going on" not in capsys.readouterr().err
    pooled, _ = expected(other, sorted(folder.iterdir()))
    np.testing.assert_allclose(read(output)["features"], pooled, atol=2e-5)


def test_a_folder_of_somebody_s_stays(trained, tmp_path, capsys):
    folder = make_pictures(tmp_path / "pictures", 2)
    mine = tmp_path / "f.npz.partial" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert embed(trained, folder, tmp_path / "f.npz") == 1
    assert "thesis.txt is in the place" in capsys.readouterr().err
    assert embed(trained, folder, tmp_path / "f.npz", "--overwrite") == 1
    assert mine.read_text() == "mine"


def test_a_kill_while_the_rows_are_removed(trained, tmp_path, small_shards):
    folder = make_pictures(tmp_path / "pictures", 21)
    left = tmp_path / "f.npz.partial"
    left.mkdir()
    (left / "shard-000001.npz").write_text("old")
    (left / ".recipe.json.host.1.2.tmp").write_text("{")
    assert embed(trained, folder, tmp_path / "f.npz") == 0
    assert len(read(tmp_path / "f.npz")["features"]) == 21


def test_files_that_exist_are_kept_unless_asked(trained, tmp_path, capsys):
    folder = make_pictures(tmp_path / "pictures", 4, bad=(1,))
    (tmp_path / "f.names.txt").write_text("mine")
    assert embed(trained, folder, tmp_path / "f.npy") == 2
    assert "f.names.txt exists; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "f.names.txt").read_text() == "mine"
    assert embed(trained, folder, tmp_path / "f.npy", "--overwrite") == 0
    assert (tmp_path / "f.left_out.txt").exists()
    assert embed(trained, folder, tmp_path / "f.npy") == 2
    (folder / "0001.png").write_bytes((folder / "0000.png").read_bytes())
    assert embed(trained, folder, tmp_path / "f.npy", "--overwrite") == 0
    assert len(np.load(tmp_path / "f.npy")) == 4
    assert not (tmp_path / "f.left_out.txt").exists()


def test_memory_holds_one_shard(trained, tmp_path, small_shards, monkeypatch):
    folder = make_pictures(tmp_path / "pictures", 60)
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    describe = Embedder.describe

    def watched(self, inputs):
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        made = describe(self, inputs)
        alive.append(weakref.ref(made))
        return made

    monkeypatch.setattr(Embedder, "describe", watched)
    assert embed(trained, folder, tmp_path / "f.npz") == 0
    assert len(alive) == 15
    assert most <= 2


@pytest.mark.parametrize("output", ["f.csv", "f", ""])
def test_an_ending_that_names_no_format(trained, output, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["embed", str(trained), "--output", output])
    assert stopped.value.code == 2
    assert "allowed: a" in capsys.readouterr().err


def test_help_imports_no_torch():
    code = (
        "import argparse, sys; from jepa.commands import embed, neighbors; "
        "embed.configure(argparse.ArgumentParser()); "
        "neighbors.configure(argparse.ArgumentParser()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
