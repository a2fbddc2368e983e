"""Parts of sounds, read either way; and a run on them, by the commands."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from sounds import RATE, coded, sine
from test_audio_modality import MEL, audio
from test_audio_run import SPECTROGRAM, jepa_train

from jepa import cli
from jepa.core import DecodeError, Stretch
from jepa.core.rng import SampleRng
from jepa.modalities.audio.decode import open_sound
from jepa.testing import conformance

pytest.importorskip("soundfile", reason="needs soundfile: the extra `audio`")

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 1001)
"""An odd length, so that halves differ."""
NARROW = ["model.dim=16", "model.encoder={name: vit, depth: 1, heads: 2}"]
NARROW += ["model.predictor={name: vit, depth: 1, dim: 16, heads: 2}"]
CONTENTS = [coded(sine(300.0, 0.6) * np.linspace(0.1, 1, 4800)), sine(700.0, 0.3), NOISE]


@pytest.mark.parametrize("content", [NOISE, coded(NOISE, subtype="DOUBLE")], ids=["array", "file"])
@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.5), (0.25, 0.75), (1.0, 0.0), (0.9, 0.4)])
def test_a_part_reads_as_its_samples_would(content, begin, end):
    low, high = sorted((round(begin * 1001), round(end * 1001)))
    wanted = NOISE[low:high].astype(np.float32)
    wanted = wanted[::-1] if end < begin else wanted
    with open_sound(Stretch(content, begin, end), RATE) as sound:
        assert (sound.rate, sound.length) == (RATE, len(wanted))
        np.testing.assert_array_equal(sound.read(0, sound.length), wanted)
        np.testing.assert_array_equal(sound.read(7, 90), wanted[7:97])
        np.testing.assert_array_equal(sound.read(sound.length - 5, 5), wanted[-5:])


def test_only_the_part_is_decoded():
    loud = np.random.default_rng(1).uniform(-0.5, 0.5, 40_000)
    torn = bytearray(coded(loud, kind="FLAC"))
    torn[-200:] = bytes(200)
    with open_sound(Stretch(bytes(torn), 0.0, 0.2), RATE) as sound:
        np.testing.assert_allclose(sound.read(0, sound.length), loud[:8000], atol=1e-4)
    with (
        open_sound(Stretch(bytes(torn), 0.8, 1.0), RATE) as sound,
        pytest.raises(DecodeError, match="damaged"),
    ):
        sound.read(0, sound.length)


@pytest.mark.parametrize("short", ["pad", "repeat"])
def test_clips_of_a_part_come_from_it_alone(short):
    # Of a sound that rises in steps, the third quarter holds one value.
    steps = np.repeat([0.1, 0.2, 0.3, 0.4], 8000) + 0.01 * np.tile([1, -1], 16000)
    part = Stretch(steps, 0.5, 0.75)
    modality = audio(short=short, mel=None)
    clips = [modality.train_input(part, SampleRng(0, 0, place)) for place in range(50)]
    for clip in (*clips, modality.eval_input(part)):
        assert abs(clip.float().abs() / 2**15 - 0.3).max() < 0.011


def test_a_reversed_sound_is_the_sound_reversed():
    modality = audio(mel=None)
    ahead, back = (modality.eval_input(Stretch(NOISE, *ends)) for ends in ((0, 1), (1, 0)))
    own = modality.eval_input(NOISE[::-1].copy())
    assert torch.equal(back, own)
    assert not torch.equal(ahead, back)


def test_a_silent_part_is_refused_as_a_silent_sound_is():
    half = np.r_[np.zeros(4000), sine(300.0, 0.5)]
    with pytest.raises(DecodeError, match="silence"):
        audio().eval_input(Stretch(half, 0.0, 0.5))
    audio().eval_input(Stretch(half, 0.5, 1.0))


@conformance(
    "modality",
    "audio",
    settings={"rate": RATE, "duration": 0.4, "mel": MEL},
    contents=CONTENTS,
    overrides=[
        *NARROW,
        "model.tokenizer.size=[4, 4]",
        "masks=[{name: multiblock, min_keep: 2}]",
    ],
)
def test_spectrograms_keep_their_promises(check):
    check()


@conformance(
    "modality",
    "audio",
    settings={"rate": RATE, "duration": 0.4, "mel": None, "normalise": "clip", "short": "repeat"},
    contents=CONTENTS,
    overrides=[
        *NARROW,
        "model.tokenizer={name: patch, size: [100]}",
        "masks=[{name: random}]",
    ],
)
def test_waveforms_keep_their_promises(check):
    check()


# --- a run ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """train/ and test/ of falling tones, long ones; one file is broken."""
    folder = tmp_path_factory.mktemp("falling")
    for split in ("train", "test"):
        for place in range(6):
            time = np.arange(16000) / RATE
            pitch = 2000 * np.exp(-time * (1.0 + 0.1 * place)) + 200
            path = folder / split / "ab"[place % 2] / f"{place}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(coded(0.5 * np.sin(2 * np.pi * np.cumsum(pitch) / RATE)))
    (folder / "train" / "a" / "broken.wav").write_bytes(b"no sound" * 50)
    return folder


def test_a_run_on_parts_and_a_probe_of_the_arrow_of_time(data, tmp_path, capsys):
    run = tmp_path / "run"
    parts = "data.source={name: stretches, count: 2, source: {name: class_folders}}"
    jepa_train(run, data, SPECTROGRAM, parts)
    told = [json.loads(line) for line in (run / "bad_samples.jsonl").read_text().splitlines()]
    assert {line["name"] for line in told} <= {f"a/broken.wav [{k}/2]" for k in (1, 2)}
    assert told

    def says(*command: str) -> str:
        assert cli.main(list(command)) == 0
        return capsys.readouterr().out

    features = tmp_path / "features.npz"
    says("embed", str(run), "--data", str(data / "test"), "--output", str(features))
    names = np.load(features)["names"].tolist()
    assert names[:2] == ["a/0.wav [1/2]", "a/0.wav [2/2]"]
    assert len(names) == 12

    sheet = tmp_path / "near.png"
    asked = str(data / "train" / "a" / "0.wav")
    found = says("neighbors", str(run), "--query", asked, "--k", "3", "--output", str(sheet))
    assert sheet.exists()
    assert "0.wav [" not in found.replace(asked, "")

    said = says("eval", str(run), "--protocol", "knn", "--trained-only")
    assert "6 test samples (12 parts, averaged) of 2 classes" in " ".join(said.split())
    (scores,) = (run / "eval").glob("*.json")
    told = json.loads(scores.read_text())
    assert (told["train_samples"], told["train_parts"]) == (6, 12)
    assert (told["test_samples"], told["test_parts"]) == (6, 12)
    assert "probes fitted on 6 samples (12 parts);" in " ".join(said.split())
    assert told["rows"][0]["score"]["value"] * 6 % 1 == pytest.approx(0, abs=1e-6)
    scores.unlink()

    arrow = "{name: arrow_of_time, source: {name: folder}}"
    says("eval", str(run), "--protocol", "knn", "--train", arrow, "--test", arrow)
    (scores,) = (run / "eval").glob("*.json")
    assert {row["protocol"] for row in json.loads(scores.read_text())["rows"]} == {"knn"}
