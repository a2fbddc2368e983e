"""Made-up sounds for the tests: sines of known pitch, in memory or as files."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

RATE = 8000


def sine(hertz: float, seconds: float = 1.0, rate: int = RATE, loud: float = 0.5) -> np.ndarray:
    """float64 [n] in -loud to loud."""
    return loud * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def coded(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None):
    """The bytes of a sound file: samples [n] or [n, C]."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=kind, subtype=subtype)
    return out.getvalue()


def tones(folder: Path, classes: int = 3, each: int = 6, rate: int = RATE, kind: str = "WAV"):
    """folder/{train,test}/CLASS/N.wav: a pitch a class, of different lengths and loudness."""
    for split, first in (("train", 0), ("test", each)):
        for label in range(classes):
            for place in range(first, first + each):
                seconds = 0.3 + 0.1 * (place % 5)
                samples = sine(300.0 * 2**label + 7 * place, seconds, rate, 0.2 + 0.05 * place)
                path = folder / split / "abc"[label] / f"{place}.{kind.lower()}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(coded(samples, rate, kind))
    return folder
