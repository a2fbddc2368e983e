"""Log-mel spectrograms against a plain computation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sounds import RATE, sine

from jepa.core.errors import ConfigError
from jepa.core.settings import structure
from jepa.modalities.audio.mel import LogMel, MelConfig, over_time

CONFIG = MelConfig(bins=20, window=200, hop=80, fft=256, low=50.0, high=3900.0)


def naive(samples: np.ndarray, config: MelConfig, rate: int) -> np.ndarray:
    """Log-mel [T, F] by sums and loops, in float64."""
    size, hop, window = config.transform, config.hop, config.window
    before = (size - hop) // 2
    padded = np.pad(samples, (before, size - hop - before), mode="reflect")
    hann = np.zeros(size)
    left = (size - window) // 2
    hann[left : left + window] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frequencies = np.arange(size // 2 + 1)
    kernel = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(size)) / size)

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    edges = np.linspace(mel(config.low), mel(config.high or rate / 2), config.bins + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    rows = []
    for start in range(0, len(samples), hop):
        power = np.abs(kernel @ (padded[start : start + size] * hann)) ** 2
        row = []
        for low, peak, high in zip(edges, edges[1:], edges[2:], strict=False):
            hertz = frequencies * rate / size
            up, down = (hertz - low) / (peak - low), (high - hertz) / (high - peak)
            row.append((np.maximum(0, np.minimum(up, down)) * power).sum())
        rows.append(row)
    return np.log(np.array(rows) + 1e-6)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 2500.0])
def test_it_is_the_plain_computation(hertz):
    samples = sine(hertz, 0.1) + 0.01 * sine(1777.0, 0.1)
    found = LogMel(CONFIG, RATE)(torch.from_numpy(samples).float()[None])[0]
    assert found.shape == (10, 20)
    assert found.dtype == torch.float32
    wanted = naive(samples, CONFIG, RATE)
    assert np.abs(found.numpy() - wanted)[wanted > -8].max() < 0.01
    peaks = 700 * (10 ** (np.linspace(77.8, 2113, 22)[1:-1] / 2595) - 1)
    assert abs(peaks[found.mean(0).argmax()] - hertz) < 150


def test_frames_share_the_clip_exactly_whatever_the_transform():
    for config in (CONFIG, MelConfig(bins=10, window=80, hop=80), MelConfig(bins=10, fft=1023)):
        samples = torch.zeros(2, 10 * config.hop)
        if samples.shape[1] >= config.transform:
            assert LogMel(config, RATE)(samples).shape == (2, 10, config.bins)


def test_a_click_shows_in_the_frame_whose_stretch_it_lies_in():
    for frame in range(10):
        samples = torch.zeros(1, 800)
        samples[0, frame * 80 + 40] = 1.0
        found = LogMel(CONFIG, RATE)(samples)[0]
        assert int(found.mean(1).argmax()) == frame


def test_bf16_changes_nothing():
    mel = LogMel(CONFIG, RATE)
    samples = torch.from_numpy(sine(700.0, 0.1)).float()[None]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mel(samples), wanted := mel(samples))
    assert torch.equal(mel(samples), wanted)
    assert wanted.dtype == torch.float32


def test_nothing_of_it_is_saved_or_trained():
    mel = LogMel(CONFIG, RATE)
    assert mel.state_dict() == {}
    assert list(mel.parameters()) == []


@pytest.mark.parametrize(
    ("settings", "rate", "said"),
    [
        ({"bins": 128, "window": 400}, 16000, r"mel.bins: found 128, of which 1 are so narrow"),
        ({"high": 9000.0}, 16000, "mel.high: found 0 to 9000 Hz, allowed: .*half the rate, 8000"),
        ({"low": 5000.0, "high": 4000.0}, 16000, "found 5000 to 4000 Hz"),
    ],
)
def test_filters_that_do_not_fit_the_rate_are_refused(settings, rate, said):
    with pytest.raises(ConfigError, match=said):
        LogMel(MelConfig(**settings), rate)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"window": 400, "fft": 256}, "fft: found 256, allowed: the window's 400 or more"),
        ({"window": 400, "hop": 500}, "hop: found 500, allowed: at most the window 400"),
        ({"bins": 0}, "bins: found 0, allowed: above 0"),
        ({"binz": 40}, "did you mean 'bins'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        structure(settings, MelConfig)


def test_over_time_leaves_digital_silence_out():
    mel = LogMel(CONFIG, RATE)
    sound = 0.1 * torch.randn(3200, generator=torch.Generator().manual_seed(0))
    whole = over_time(mel(sound[None]))
    padded = over_time(mel(torch.cat([torch.zeros(4000), sound, torch.zeros(1600)])[None]))
    assert whole.shape == (1, 40)
    # The frames at the borders differ, where one is mirrored and the other fades.
    assert (whole[0, :20] - padded[0, :20]).abs().mean() < 0.3
    assert torch.isfinite(over_time(mel(torch.zeros(1, 800)))).all()
