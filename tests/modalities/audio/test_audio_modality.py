"""The modality `audio`: shapes, normalisation, pictures, baseline, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sounds import RATE, sine

from jepa.core import registry
from jepa.core.build import build
from jepa.core.config import load_run
from jepa.core.errors import ConfigError
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Modality
from jepa.core.rng import SampleRng
from jepa.core.settings import structure
from jepa.core.training import cost
from jepa.modalities.audio import AudioModality

MEL = {"bins": 16, "window": 200, "hop": 80, "fft": 256}


def audio(**settings) -> AudioModality:
    given = {"rate": RATE, "duration": 0.4, "mel": MEL, **settings}
    return AudioModality(structure(given, AudioModality.Config))


def batch(modality, *hertz, loud=0.5):
    return torch.stack([modality.eval_input(sine(h, 1.0, loud=loud)) for h in hertz])


def test_the_entry_point_finds_it():
    assert registry.load(registry.find("modality", "audio")) is AudioModality
    assert issubclass(AudioModality, Modality)


@pytest.mark.parametrize("mel", [MEL, None])
def test_the_spec_says_what_is_loaded_and_what_is_seen(mel):
    modality = audio(mel=mel)
    if mel is None:
        assert modality.spec == InputSpec((1, 3200), ("t",))
    else:
        assert modality.spec == InputSpec((1, 40, 16), ("t", "f"), (1, 3200))
    loaded = batch(modality, 300, 900)
    trained = modality.train_input(sine(300.0), SampleRng(0, 0, 0))
    assert loaded.dtype == trained.dtype == torch.int16
    assert loaded.shape[1:] == trained.shape == modality.spec.loaded
    prepared = modality.device_transform()(loaded)
    assert prepared.dtype == torch.float32
    assert prepared.shape[1:] == modality.spec.shape


def test_a_spec_is_loaded_as_it_is_seen_unless_it_says_so():
    assert InputSpec((3, 8, 8), ("y", "x")).loaded == (3, 8, 8)


def test_ten_seconds_at_32_khz_are_512_frames_of_96_bins():
    config = load_run("audio/audio_jepa")
    assert config.modality.cls(config.modality.config).spec.shape == (1, 512, 96)


def test_a_model_is_counted_from_what_is_loaded():
    found = cost.count(load_run("audio/quickstart"))
    assert found.grid.axes == ("t", "f")
    assert found.grid.shape == (25, 1)
    assert found.flops_per_sample > 0


def test_the_defaults_build():
    with torch.device("meta"):
        built = build(load_run(None, ["train={global_batch: 8, max_steps: 1}"], "audio"))
    assert built.grid.shape == (64, 5)


@pytest.mark.parametrize("mel", [MEL, None])
def test_normalisation_by_clip_forgets_how_loud_it_was(mel):
    modality = audio(mel=mel, normalise="clip")
    prepare = modality.device_transform()
    noise = np.random.default_rng(0).normal(size=RATE) / 8
    loud, soft = (prepare(modality.eval_input(noise * level)[None]) for level in (1, 0.1))
    assert loud.mean().abs() < 1e-3
    assert loud.std().item() == pytest.approx(1, abs=1e-2)
    assert (loud - soft).abs().max() < 0.1


@pytest.mark.parametrize("mel", [MEL, None])
def test_normalisation_by_numbers_is_a_line(mel):
    inputs = batch(audio(mel=mel), 300, 900)
    bare = audio(mel=mel, mean=0.0, std=1.0).device_transform()(inputs)
    found = audio(mel=mel, mean=-3.0, std=2.0).device_transform()(inputs)
    torch.testing.assert_close(found, (bare + 3) / 2)


def test_the_waveform_is_in_minus_1_to_1():
    modality = audio(mel=None, mean=0.0, std=1.0)
    found = modality.device_transform()(batch(modality, 300))
    middle = sine(300.0)[2400:5600]
    assert np.abs(found[0, 0].numpy() - middle).max() < 2**-15


def test_the_baseline_is_mean_and_deviation_of_each_bin():
    modality = audio()
    inputs = batch(modality, 300, 900)
    log_mel = audio(mean=0.0, std=1.0).device_transform()(inputs)[:, 0]
    wanted = torch.cat([log_mel.mean(1), log_mel.std(1, correction=0)], 1)
    torch.testing.assert_close(modality.baseline(inputs), wanted)
    for settings in ({}, {"duration": 0.01}, {"rate": 44100}, {"rate": 1000}):
        waveform = audio(mel=None, **settings)
        clip = waveform.eval_input(np.random.default_rng(0).normal(size=50_000) / 8)[None]
        found = waveform.baseline(clip)
        assert found.ndim == 2
        assert torch.isfinite(found).all()
    assert audio(mel=None).baseline(inputs).shape == (2, 128)


def test_a_spectrogram_shows_time_down_and_pitch_to_the_right():
    modality = audio()
    both = np.concatenate([sine(300.0, 0.2), sine(2500.0, 0.2)])
    picture = modality.preview(modality.eval_input(both)[None])
    assert picture.dtype == torch.uint8
    assert picture.shape == (1, 40, 16, 3)
    bright = picture[0].float().mean(2)
    low, high = bright[4:16].mean(0), bright[24:36].mean(0)
    assert low.argmax() < 5
    assert high.argmax() > 9
    assert bright.max() > 180
    assert bright.min() < 20


def test_a_waveform_shows_as_its_envelope():
    modality = audio(mel=None)
    swelling = sine(3100.0, 0.4) * np.linspace(0, 1, 3200)
    picture = modality.preview(modality.eval_input(swelling)[None])
    assert picture.shape == (1, 101, 800, 3)
    ink = (picture[0, ..., 0] < 128).sum(0)  # dots a column
    assert ink[:100].float().mean() < 12
    assert ink[-100:].float().mean() > 60
    assert ink.min() >= 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"duration": 0.405}, "duration: its 3240 samples are 40.5 frames.*such as 40 or 41"),
        ({"duration": 0.00005}, "duration: found 5e-05, which at 8000 .* 0.4 samples"),
        ({"duration": 0.02}, "duration: its 160 samples are fewer than the 256"),
        ({"rate": 100}, "rate: found 100, allowed: 1000 to 384000"),
        ({"std": 0.0}, "std: found 0.0, allowed: above 0"),
        ({"normalise": "clip", "mean": 1.0}, "normalise: found clip, which needs no mean and std"),
        ({"short": "stretch"}, "short: found 'stretch', allowed: 'pad', 'repeat'"),
        ({"mel": {**MEL, "hop": 300}}, "mel.hop: found 300, allowed: at most the window 200"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        audio(**settings)


def test_filters_that_are_too_many_are_a_fault_of_the_config():
    with pytest.raises(ConfigError, match=r"modality\.mel\.bins: found 128, of which \d+ are so"):
        cost.count(load_run("audio/quickstart", ["modality.mel.bins=128"]))
