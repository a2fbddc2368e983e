"""Sound files and arrays to samples: formats, rates, channels, damage."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, coded, sine

from jepa.core.errors import DataError, DecodeError
from jepa.modalities.audio.decode import EXTENSIONS, open_sound

soundfile = pytest.importorskip("soundfile", reason="needs soundfile: the extra `audio`")


def read(content, start=0, count=None, array_rate=RATE):
    with open_sound(content, array_rate) as sound:
        return sound.read(start, sound.length if count is None else count)


FORMATS = [
    ("WAV", "PCM_16", 1e-4),
    ("WAV", "PCM_24", 1e-6),
    ("WAV", "FLOAT", 1e-7),
    ("WAV", "PCM_U8", 0.01),
    ("FLAC", "PCM_16", 1e-4),
    ("AIFF", "PCM_16", 1e-4),
    ("OGG", "VORBIS", 0.1),
    ("OGG", "OPUS", 0.1),
    ("MP3", "MPEG_LAYER_III", 0.1),
]


@pytest.mark.parametrize(("kind", "subtype", "close"), FORMATS)
@pytest.mark.parametrize("as_file", [True, False])
def test_every_format_gives_the_sound(tmp_path, kind, subtype, close, as_file):
    if subtype not in soundfile.available_subtypes(kind):
        pytest.skip(f"this libsndfile writes no {kind} of {subtype}")
    content = coded(sine(440.0, 0.5), RATE, kind, subtype)
    ending = {"MP3": ".mp3", "AIFF": ".aiff"}.get(kind, f".{kind.lower()}")
    assert ending in EXTENSIONS
    if as_file:
        path = tmp_path / f"sound{ending}"
        path.write_bytes(content)
        content = path
    found = read(content)
    assert found.dtype == np.float32
    wanted = sine(440.0, 0.5)
    assert abs(len(found) - len(wanted)) < 1200  # MP3 pads to whole frames
    spectrum = np.abs(np.fft.rfft(found[:4000]))
    assert abs(spectrum.argmax() * RATE / 4000 - 440) <= 2
    if len(found) == len(wanted):
        middle = slice(500, -500)
        assert np.abs(found[middle] - wanted[middle]).max() < close


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_part_is_the_same_as_the_part_of_the_whole(kind):
    content = coded(sine(200.0, 3.0), RATE, kind)
    whole = read(content)
    part = read(content, 9000, 4000)
    assert np.abs(part - whole[9000:13000]).max() < 1e-4


def test_only_the_part_is_decoded(monkeypatch, tmp_path):
    path = tmp_path / "long.wav"
    path.write_bytes(coded(sine(200.0, 60.0)))
    asked = []
    decode = soundfile.SoundFile.read

    def spy(self, frames, **settings):
        asked.append(frames)
        return decode(self, frames, **settings)

    monkeypatch.setattr(soundfile.SoundFile, "read", spy)
    assert len(read(path, 100_000, 800)) == 800
    assert asked == [800]


def test_channels_are_averaged():
    left, right = sine(300.0), 0.5 * sine(700.0)
    found = read(coded(np.stack([left, right], 1), subtype="FLOAT"))
    assert np.allclose(found, (left + right) / 2, atol=1e-6)
    assert np.allclose(read(np.stack([left, right])), (left + right) / 2, atol=1e-6)


def test_arrays_of_every_type_mean_the_same():
    wanted = sine(300.0)
    arrays = [
        (wanted, 1e-6),
        (wanted.astype(np.float16), 1e-3),
        (np.round(wanted * 2**15).astype(np.int16), 2**-15),
        (np.round(wanted * (2**31 - 1)).astype(np.int32), 1e-6),
        (np.round(wanted * 127 + 128).astype(np.uint8), 0.01),
    ]
    for array, close in arrays:
        assert np.abs(read(array) - wanted).max() < close, array.dtype
    with open_sound(wanted, 44100) as sound:
        assert (sound.rate, sound.length) == (44100, 8000)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((2, 3, 4), np.float32), r"shape \[2, 3, 4\], allowed: \[n\] or \[C, n\]"),
        (np.zeros((8000, 2), np.float32), r"shape \[8000, 2\]"),
        (np.zeros(0, np.float32), r"shape \[0\]"),
        (np.zeros(9, np.uint16), "an array of uint16, allowed: uint8, int16, int32, floats"),
        (np.zeros(9, np.complex64), "complex64"),
        (1000 * sine(300.0), "found floats from -500 to 500, allowed: -1 to 1"),
        (np.array([0.1, np.nan]), "infinite values or NaN"),
        (np.array([0.1, np.inf]), "infinite values or NaN"),
    ],
)
def test_arrays_that_are_no_sound_are_refused(array, said):
    with pytest.raises(DecodeError, match=said):
        read(array)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no sound of a known format, or a damaged one"),
        (b"not a sound at all" * 100, "no sound of a known format"),
        (coded(np.zeros(0)), "empty: the file holds no sample"),
        (coded(np.array([0.5, np.nan]), subtype="FLOAT"), "infinite values or NaN"),
        (coded(sine(440.0), kind="FLAC")[:300], "damaged"),
        (coded(sine(440.0))[:20], "no sound of a known format, or a damaged one"),
    ],
    # Not the bytes themselves: files of floats hold the time at which they were written.
    ids=["empty", "text", "no_samples", "nan", "cut_off", "header_cut_off"],
)
def test_what_is_damaged_or_no_sound_is_refused(content, said):
    with pytest.raises(DecodeError, match=said):
        read(content)


def test_a_name_need_not_be_utf_8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Bj\xf6rk.wav"))
    try:
        path.write_bytes(coded(sine(440.0)))
    except OSError:
        pytest.skip("this file system has names in UTF-8 alone")
    assert len(read(path)) == 8000
    path.write_bytes(b"not a sound at all" * 100)
    with pytest.raises(DecodeError, match="no sound of a known format") as caught:
        read(path)
    assert str(caught.value).encode(), "it can be printed"


def test_a_rate_that_cannot_be_is_damage():
    content = bytearray(coded(sine(440.0)))
    content[24:28] = (2_000_000_000).to_bytes(4, "little")
    with pytest.raises(DecodeError, match=r"2000000000 samples a second, allowed: 100 to 1000000"):
        read(bytes(content))


def test_a_file_that_is_gone_is_named_like_a_broken_one(tmp_path):
    with pytest.raises(DecodeError, match=r"No such file|System error"):
        read(tmp_path / "gone.wav")


def test_without_the_package_the_extra_is_named(monkeypatch):
    content = coded(sine(440.0))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(
        DataError, match=r"soundfile.*extra `audio`: pip install 'anyjepa\[audio\]'"
    ):
        read(content)
    assert len(read(sine(440.0))) == 8000, "arrays need no package"


def test_what_audio_needs_is_imported_where_audio_is_used(tmp_path):
    code = """
import sys
from jepa import cli
import jepa
cli.parse(["plugins"])
def strange():
    return sorted(m for m in sys.modules if m.partition(".")[0] in ("torchaudio", "soundfile"))
assert not strange(), strange()
import torch
from jepa.core.build import build
from jepa.core.config import load_run
with torch.device("meta"):
    build(load_run("image/quickstart"))
assert not strange(), strange()
with torch.device("meta"):
    build(load_run("audio/ajepa"))
assert {m.partition(".")[0] for m in strange()} == {"torchaudio"}, strange()
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_file_is_read_from_its_start_again():
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 1000)
    with open_sound(coded(samples, subtype="DOUBLE"), RATE) as sound:
        sound.read(300, 100)
        np.testing.assert_array_equal(sound.read(0, 50), samples[:50].astype(np.float32))
