"""Which frames make a clip: by number, by time, of short films."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from jepa.modalities.video.pick import Rhythm, pick


def counted(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float64)


def clip(n, frames=4, step=3.0, short="hold", place=None):
    return pick(counted(n), Rhythm(frames, step, short), place)


@pytest.mark.parametrize(
    ("n", "place", "found"),
    [
        (10, None, [0, 3, 6, 9]),
        (10, 0.99, [0, 3, 6, 9]),
        (12, None, [1, 4, 7, 10]),
        (12, 0.0, [0, 3, 6, 9]),
        (12, 0.999, [2, 5, 8, 11]),
        (100, None, [45, 48, 51, 54]),
    ],
)
def test_every_so_many_frames(n, place, found):
    assert clip(n, place=place) == found


def test_every_beginning_is_as_likely():
    places = np.random.default_rng(0).random(4000)
    begins = np.bincount([clip(17, place=place)[0] for place in places])
    assert len(begins) == 8  # 0 to 7
    assert stats.chisquare(begins).pvalue > 0.01


@pytest.mark.parametrize(
    ("n", "short", "place", "found"),
    [
        (9, "hold", None, [0, 3, 6, 8]),
        (9, "hold", 0.7, [0, 3, 6, 8]),
        (4, "hold", None, [0, 3, 3, 3]),
        (1, "hold", 0.5, [0, 0, 0, 0]),
        (9, "loop", None, [0, 3, 6, 0]),
        (4, "loop", None, [0, 3, 2, 1]),
        (4, "loop", 0.5, [2, 1, 0, 3]),
        (4, "loop", 0.95, [0, 3, 2, 1]),  # nearer to the next round
        (1, "loop", 0.9, [0, 0, 0, 0]),
    ],
)
def test_short_films_hold_or_begin_again(n, short, place, found):
    assert clip(n, short=short, place=place) == found


@pytest.mark.parametrize("rate", [10, 25, 30, 24000 / 1001, 60])
@pytest.mark.parametrize("wanted", [5.0, 10.0, 30.0])
def test_by_time_frames_come_evenly_whatever_the_rate(rate, wanted):
    times = np.arange(400) / rate
    for place in (None, 0.0, 0.3, 0.95):
        found = times[pick(times, Rhythm(8, 1 / wanted, "hold"), place)]
        assert np.abs(found - found[0] - np.arange(8) / wanted).max() <= 0.5 / rate + 1e-9


@pytest.mark.parametrize("place", [None, 0.0, 0.21, 0.5, 0.77])
def test_rounded_times_change_nothing(place):
    """Matroska keeps milliseconds: at 30 frames a second every third is exact."""
    exact = np.arange(90) / 30
    rounded = np.round(exact, 3)
    rhythm = Rhythm(16, 4 / 30, "hold")
    begins = pick(exact, rhythm, place)
    assert np.diff(begins).tolist() == [4] * 15
    assert np.diff(pick(rounded, rhythm, place)).tolist() == [4] * 15
    assert abs(pick(rounded, rhythm, place)[0] - begins[0]) <= 1


@pytest.mark.parametrize("n", [60, 61, 62])
def test_rounded_times_of_a_film_that_just_fits(n):
    """61 frames are needed."""
    found = pick(np.round(np.arange(n) / 30, 3), Rhythm(16, 4 / 30, "loop"), 0.0)
    assert found == [0 if n == 60 and i == 15 else 4 * i for i in range(16)]


def test_uneven_times_give_an_even_clip():
    """A film of 2 s at 10 frames a second, then 2 s at 40."""
    times = np.concatenate([np.arange(20) / 10, 2 + np.arange(80) / 40])
    found = pick(times, Rhythm(12, 0.2, "hold"), None)
    assert np.allclose(np.diff(times[found]), 0.2)
    assert len({*np.diff(found).tolist()}) > 1  # twos, then eights


def test_beginnings_are_uniform_in_time():
    times = np.concatenate([np.arange(20) / 10, 2 + np.arange(80) / 40])
    places = np.random.default_rng(1).random(4000)
    begins = [times[pick(times, Rhythm(5, 0.1, "hold"), place)[0]] for place in places]
    early = np.mean(np.array(begins) < 1.8)
    assert abs(early - 1.8 / (4 - 0.4)) < 0.03


def test_a_film_does_not_need_to_begin_at_zero():
    times = np.arange(40) / 10
    rhythm = Rhythm(4, 0.3, "loop")
    for place in (None, 0.4):
        assert pick(times - 7.25, rhythm, place) == pick(times, rhythm, place)
