"""From a sound of any length and rate to a clip of fixed length: int16 [S] at the model's rate."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchaudio.transforms import Resample

from jepa.core.errors import DecodeError
from jepa.modalities.audio.decode import Sound

Short = Literal["pad", "repeat"]

FULL = 2.0**15
"""int16 value of the sample 1.0."""

_FINEST = 1000

_ELSEWHERE = (1 / 4, 3 / 4, 1 / 8, 7 / 8, 3 / 8, 5 / 8, 1 / 16, 15 / 16, 0.0)
"""Places of a long sound that are tried where its middle holds none."""


def cut_clip(
    sound: Sound, rate: int, samples: int, short: Short, places: Iterable[float] | None
) -> Tensor:
    """A clip of a sound: int16 [samples].

    Of a long sound only the clip is read, then resampled. A short one is read whole. With `pad` it
    stands somewhere in the clip, and zeros around it; with `repeat` it is repeated, from some place
    in it on. Where that is, or where a long sound is cut, a number in [0, 1) says: 0 is the first
    place possible, and all are as likely as any other.

    A stretch without sound says nothing of the sound, so the next place is tried.

    Values are those of 16-bit files, which come through bit for bit at their own rate. Wider ones
    lose what lies 98 dB below full scale. A clip that goes beyond -1 to 1 is scaled down to fit.

    Args:
        sound: open.
        rate: of the clip.
        samples: of the clip, S.
        short: what is done with sounds that are shorter.
        places: numbers in [0, 1), tried in turn; None: the middle first, then nine fixed places;
            short sounds in the middle, and repeated from their start.

    Raises:
        DecodeError: the sound is damaged, or silent at all of these places.
    """
    wanted = math.ceil(samples / _ratio(sound.rate, rate))
    slack = sound.length - wanted
    for place in (None, *_ELSEWHERE) if places is None else places:
        start = 0 if slack <= 0 else _at(place, slack)
        found = torch.from_numpy(sound.read(start, min(wanted, sound.length)))
        found = _to_int16(resample(found, sound.rate, rate))[:samples]
        if bool((found != found[0]).any()):
            return _filled(found, samples, short, place)
        if slack <= 0:
            break
    raise DecodeError("silence: all samples are equal")


def _at(place: float | None, slack: int) -> int:
    """One of slack + 1 places; the middle for None."""
    return slack // 2 if place is None else int(place * (slack + 1))


def _filled(clip: Tensor, samples: int, short: Short, place: float | None) -> Tensor:
    """Lengthen a clip [n <= samples] to [samples]."""
    missing = samples - len(clip)
    if missing == 0:
        return clip
    if short == "pad":
        before = _at(place, missing)
        return F.pad(clip, (before, missing - before))
    begin = 0 if place is None else int(place * len(clip))
    return clip.roll(-begin).repeat(-(-samples // len(clip)))[:samples]


def _to_int16(samples: Tensor) -> Tensor:
    """Floats [n] in -1 to 1 -> int16 [n]; louder ones are scaled down."""
    peak = max(float(samples.abs().max()), 1.0)
    return (samples * (FULL / peak)).round().clamp(-FULL, FULL - 1).to(torch.int16)


def resample(samples: Tensor, rate: int, wanted: int) -> Tensor:
    """Samples [n] at a rate -> [m] at another, m = n * wanted / rate rounded up.

    By torchaudio's windowed sinc. Rates whose ratio has no small terms would take a huge table, so
    the nearest ratio with a denominator up to 1000 is taken, and m follows it: for odd rates, such
    as 47,999, it is a few parts in 100,000 off, and never more than one in 1000.
    """
    if rate == wanted:
        return samples
    ratio = _ratio(rate, wanted)
    resampler = _resampler(ratio.denominator, ratio.numerator)
    found: Tensor = resampler(samples)
    return found


def _ratio(rate: int, wanted: int) -> Fraction:
    """Samples out for each sample in."""
    return Fraction(wanted, rate).limit_denominator(_FINEST)


@functools.lru_cache(maxsize=16)
def _resampler(rate: int, wanted: int) -> Resample:
    """Holds the filters of a pair of rates, which take longer to make than to apply."""
    return Resample(rate, wanted)
