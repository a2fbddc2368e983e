"""Clips of fixed length from sounds of any length and rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sounds import RATE, coded, sine

from jepa.core.errors import DecodeError
from jepa.core.rng import SampleRng
from jepa.modalities.audio import AudioModality
from jepa.modalities.audio.clip import cut_clip, resample
from jepa.modalities.audio.decode import open_sound

S = 800


def cut(content, place=None, samples=S, short="pad", rate=RATE, array_rate=RATE):
    with open_sound(content, array_rate) as sound:
        return cut_clip(sound, rate, samples, short, None if place is None else [place])


def ramp(n: int) -> np.ndarray:
    """int16 [n] whose values say where they stand."""
    return np.arange(1, n + 1).astype(np.int16)


def test_values_of_16_bit_files_come_through_bit_for_bit():
    pytest.importorskip("soundfile", reason="needs soundfile: the extra `audio`")
    values = np.random.default_rng(0).integers(-(2**15), 2**15, S).astype(np.int16)
    for kind in ("WAV", "FLAC"):
        assert np.array_equal(cut(coded(values, kind=kind)).numpy(), values)


def test_the_middle_of_a_long_sound_and_any_place_of_it():
    array = ramp(2000)
    assert cut(array)[0] == 601
    assert cut(array, 0.0)[0] == 1
    assert cut(array, 0.9999)[-1] == 2000
    assert cut(array, 0.5).tolist() == array[600:1400].tolist()


def test_training_cuts_everywhere_alike_and_repeats():
    config = AudioModality.Config(rate=1000, duration=0.1, mel=None)
    audio = AudioModality(config)
    array = ramp(109)
    first = [int(audio.train_input(array, SampleRng(0, 0, i))[0, 0]) for i in range(4000)]
    counts = np.bincount(first, minlength=11)[1:]
    assert len(counts) == 10
    # 400 each; the standard deviation of one is 19.
    assert np.abs(counts - 400).max() < 90
    again = audio.train_input(array, SampleRng(0, 0, 5))
    assert torch.equal(again, audio.train_input(array, SampleRng(0, 0, 5)))
    others = [audio.train_input(array, SampleRng(0, epoch, 5)) for epoch in range(1, 9)]
    assert any(not torch.equal(again, other) for other in others)


def test_short_sounds_stand_in_zeros_or_repeat():
    array = ramp(300)
    middle = cut(array)
    assert middle[:250].eq(0).all()
    assert middle[250:550].tolist() == array.tolist()
    assert middle[550:].eq(0).all()
    assert cut(array, 0.0)[:300].tolist() == array.tolist()
    assert cut(array, 0.9999)[-300:].tolist() == array.tolist()
    repeated = cut(array, short="repeat")
    assert repeated.tolist() == np.tile(array, 3)[:S].tolist()
    turned = cut(array, 0.5, short="repeat")
    assert turned.tolist() == np.tile(np.roll(array, -150), 3)[:S].tolist()
    for clip in (middle, repeated, turned):
        assert (clip.shape, clip.dtype) == ((S,), torch.int16)


@pytest.mark.parametrize("rate", [RATE, 16000, 44100, 48000, 11025, 4000, 12347])
def test_any_rate_gives_the_same_sound(rate):
    """A sine of 500 Hz, recorded at any rate, is the same samples; the edges apart."""
    found = cut(sine(500.0, 0.5, rate), array_rate=rate).numpy() / 2**15
    start = (round(0.5 * rate) - -(-S * rate // RATE)) // 2
    wanted = 0.5 * np.sin(2 * np.pi * 500 * (np.arange(S) / RATE + start / rate))
    assert np.abs(found - wanted)[30:-30].max() < 0.02


def test_what_a_rate_cannot_hold_is_filtered_out():
    high = torch.from_numpy(sine(6000.0, 0.5, 32000)).float()
    found = resample(high, 32000, RATE)
    assert found.shape == (4000,)
    assert found[100:-100].abs().max() < 0.01


def test_strange_rates_take_no_huge_table():
    found = resample(torch.from_numpy(sine(500.0, 1.0, 44101)).float(), 44101, 16000)
    assert abs(len(found) - 16000) <= 1
    wanted = torch.from_numpy(sine(500.0, 1.0, 16000)).float()
    assert (found[100:15900] - wanted[100:15900]).abs().max() < 0.01


def test_louder_than_full_scale_is_scaled_down():
    found = cut(1.5 * sine(100.0, 0.1, loud=1.0)).numpy() / 2**15
    assert np.abs(found - sine(100.0, 0.1, loud=1.0)).max() < 1e-3


def test_silence_is_refused():
    for array in (np.zeros(2000), np.full(2000, 0.3), np.zeros(300), 1e-6 * sine(100.0)):
        with pytest.raises(DecodeError, match="silence: all samples are equal"):
            cut(array)


def test_a_silent_stretch_of_a_sound_is_passed_over():
    array = np.concatenate([np.zeros(4000), sine(300.0, 0.3)])
    audio = AudioModality(AudioModality.Config(rate=RATE, duration=0.1, mel=None))
    heard = [audio.train_input(array, SampleRng(0, 0, i)) for i in range(3)]
    assert all(clip.ne(0).any() for clip in heard)
    # Its middle is silent, and the first quarter; the last quarter is not.
    assert torch.equal(audio.eval_input(array), cut(array, 3 / 4)[None])


def test_evaluation_hears_a_sound_wherever_it_is():
    for start in range(0, 14401, 400):
        array = np.zeros(16000, np.int16)
        array[start : start + 1600] = ramp(1600)
        heard = cut(array)
        assert torch.equal(heard, cut(array))
        assert heard.ne(0).any()


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44101, 47999, 16003])
def test_a_long_sound_fills_the_clip_at_any_rate(rate):
    # Its values are about 0.5, so a clip that were filled up would show zeros at its ends.
    content = 0.5 + 0.01 * np.random.default_rng(0).normal(size=rate * 6)
    with open_sound(content, rate) as sound:
        for place in (None, 0.0, 0.999):
            clip = cut_clip(sound, 16000, 80_000, "pad", None if place is None else [place])
            assert clip.shape == (80_000,)
            inner = clip[50:-50].float() / 2**15
            assert inner.min() > 0.3
            assert inner.max() < 0.7
            assert clip[-10:].min() > 1000
            assert clip[:10].min() > 1000
