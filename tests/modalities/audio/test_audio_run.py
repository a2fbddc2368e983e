"""Runs on sound from end to end, by the commands: spectrograms, and the waveform itself."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from sounds import coded, sine, tones

import jepa
from jepa import cli

pytest.importorskip("soundfile", reason="needs soundfile: the extra `audio`")

COMMON = (
    "model.dim=16",
    "model.encoder={name: vit, depth: 2, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.source=class_folders",
    "data.split=train",
    "data.workers=0",
    "checkpoint.every=2",
    "observers=[jsonl, health]",
    "optim.warmup_epochs=0",
    "train={global_batch: 8, max_steps: 4, log_every: 1, device: cpu, precision: fp32}",
)
SPECTROGRAM = (
    *("--config", "audio/quickstart", *COMMON, "modality.duration=0.4"),
    "modality.mel={bins: 16, window: 200, hop: 80, fft: 256}",
    "modality.normalise=data",
    "model.tokenizer.size=[4, 4]",
    "model.target.layers=1",
    "model.regularizers=[]",
    "masks=[{name: multiblock, min_keep: 4}]",
)
WAVEFORM = (
    *("--config", "audio/wavjepa", *COMMON),
    *("modality.rate=8000", "modality.duration=0.4", "model.target.layers=2"),
    "model.tokenizer={name: strided, kernels: [10, 4, 4], strides: [5, 4, 4], width: 8}",
    "masks=[{name: spans, length: 4, num_targets: 2, min_keep: 3}]",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """train/ and test/ of three pitches, and one file that is no sound."""
    folder = tones(tmp_path_factory.mktemp("tones"))
    (folder / "train" / "a" / "broken.wav").write_bytes(b"no sound" * 50)
    return folder


def jepa_train(output: Path, data: Path, settings: tuple[str, ...], *more: str) -> None:
    place = [f"data.root={data}", f"data.cache={data.parent / 'cache'}"]
    # One of 19 files is broken, and each is seen about twice.
    told = ["train", "--output", str(output), *settings, *place, "data.max_bad_fraction=0.2", *more]
    assert cli.main(told) == 0


@pytest.fixture(scope="module")
def runs(tmp_path_factory, data) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = {"spectrogram": SPECTROGRAM, "waveform": WAVEFORM}
    for name, settings in made.items():
        jepa_train(folder / name, data, settings)
    return {name: folder / name for name in made}


def same_weights(one: Path, other: Path) -> bool:
    stems = ("model", "target", "optimizer")
    files = [f"checkpoints/step_00000004/{stem}.safetensors" for stem in stems]
    return all((one / file).read_bytes() == (other / file).read_bytes() for file in files)


@pytest.mark.parametrize("settings", [SPECTROGRAM, WAVEFORM], ids=["spectrogram", "waveform"])
def test_a_run_that_goes_on_is_exact_to_the_bit(data, tmp_path, settings):
    stopped, whole = tmp_path / "stopped", tmp_path / "whole"
    length = "train.epochs=9"
    for steps in (2, 4):
        jepa_train(stopped, data, settings, length, f"train.max_steps={steps}")
    jepa_train(whole, data, settings, length)
    assert same_weights(stopped, whole)
    first, last = (
        load_file(whole / "checkpoints" / f"step_0000000{step}" / "model.safetensors")
        for step in (2, 4)
    )
    moved = [name for name in first if not torch.equal(first[name], last[name])]
    assert any("tokenizer" in name for name in moved)


def test_a_file_that_is_no_sound_is_reported_like_a_broken_picture(runs):
    (line,) = (runs["spectrogram"] / "bad_samples.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert told["name"] == "a/broken.wav"
    assert "no sound of a known format" in told["reason"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "settings"), [("spectrogram", SPECTROGRAM), ("waveform", WAVEFORM)]
)
def test_every_command_works(runs, data, tmp_path, capsys, name, settings):
    run = str(runs[name])

    def says(*command: str) -> str:
        assert cli.main(list(command)) == 0
        return capsys.readouterr().out

    says("check", *settings)
    masks = str(tmp_path / "masks.png")
    drawn = ["--output", masks, "--batches", "5", "--samples", "2"]
    says("masks", *settings, f"data.root={data}", *drawn)
    assert min(Image.open(masks).size) > 200

    said = says("eval", run, "--protocol", "knn", "--protocol", "dense")
    # Tokens that overlap have no content of their own, which the raw row must say.
    assert ("the only token of 'raw baseline'" in said) is (name == "waveform")
    (scores,) = (runs[name] / "eval").glob("*.json")
    rows = json.loads(scores.read_text())["rows"]
    raw = {row["protocol"]: row for row in rows if row["features"] == "raw baseline"}
    assert raw["knn"]["score"]["value"] > 0.9, "pitches are told by their mean spectrum"
    assert "dense" in raw

    few = ["--samples", "2", "--decoder-steps", "3", "--output", str(tmp_path / "seen")]
    assert "left out" not in says("visualize", run, *few)
    assert len(list((tmp_path / "seen").glob("*.png"))) == 6
    if name == "waveform":
        return  # the others look at no token

    says("report", run, "--output", str(tmp_path / "report"))
    features = tmp_path / "features.npz"
    says("embed", run, "--data", str(data / "test"), "--output", str(features))
    assert np.load(features)["features"].shape == (18, 16)
    sheet = tmp_path / "near.png"
    query = ["--query", str(data / "test" / "b" / "6.wav"), "--k", "3"]
    says("neighbors", run, *query, "--output", str(sheet))
    assert min(Image.open(sheet).size) > 100


def test_a_trained_encoder_takes_any_file(runs, tmp_path):
    model = jepa.load(runs["spectrogram"])
    path = tmp_path / "other.flac"
    path.write_bytes(coded(sine(500.0, 1.0, 44100), 44100, "FLAC"))
    inputs = model.transform(path)[None]
    assert model.tokens(inputs).shape == (1, 40, 16)
    assert model(inputs).shape == (1, 16)


def test_pixels_cannot_be_the_target_where_tokens_overlap(data, capsys):
    told = ["check", *WAVEFORM, "model.target=pixels"]
    assert cli.main(told) == 2
    said = capsys.readouterr().err
    assert "model.target: this target needs tokens that do not overlap" in said
    assert "'strided'" in said


def test_the_digits_of_the_project_load():
    shared = Path(jepa.__file__).parents[2] / "shared" / "data" / "audio-fsdd"
    (archive,) = shared.glob("*.tar.xz") if shared.exists() else (None,)
    if archive is None:
        pytest.skip(f"{shared} is not there")
    import tarfile

    from jepa.modalities.audio import AudioModality

    audio = AudioModality(AudioModality.Config(rate=8000, duration=0.5, mel=None))
    with tarfile.open(archive) as opened:
        read = 0
        for member in opened:
            if member.name.endswith(".wav"):
                clip = audio.eval_input(opened.extractfile(member).read())
                assert clip.shape == (1, 4000)
                assert clip.abs().max() > 300
                read += 1
                if read == 20:
                    break
    assert read == 20
