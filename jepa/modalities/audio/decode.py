"""Sound files and arrays to samples: a sound that is open, of which parts can be read.

Letters: n samples of a channel, C channels.
"""

from __future__ import annotations

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, final

import numpy as np
import numpy.typing as npt

from jepa.core.errors import DataError, DecodeError
from jepa.core.modality import Content, Stretch

Floats = npt.NDArray[np.float32]

EXTENSIONS = frozenset({".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
LOWEST_RATE, HIGHEST_RATE = 100, 1_000_000
"""Samples a second; a header that says others is damaged."""

_INTEGERS = {np.dtype(np.uint8): 128.0, np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}
_LOUDEST = 2.0
"""Of floats in an array: what goes beyond are integers in disguise."""
_MOST_CHANNELS = 64
_SLACK = 4608
"""Samples (four frames of MP3) by which the announced length of a compressed file may be off."""


class Sound(ABC):
    """A sound whose rate and length are known and whose samples may still be compressed.

    Attributes:
        rate: samples a second.
        length: samples of a channel, at least one.
    """

    rate: int
    length: int

    @abstractmethod
    def read(self, start: int, count: int) -> Floats:
        """The samples from `start` on, all channels averaged: [count] in about -1 to 1.

        Raises:
            DecodeError: the sound is damaged there, or holds infinite values or NaN.
        """


@contextlib.contextmanager
def open_sound(content: Content, array_rate: int) -> Iterator[Sound]:
    """Read a sound file as far as its length, or take an array; closed on leaving.

    Of a stretch it is that part of the sound, which runs backwards where the stretch does.

    Formats: what libsndfile reads, such as WAV, FLAC, OGG (Vorbis and Opus), MP3 and AIFF, of any
    rate and number of channels. Arrays are [n] or [C, n]: uint8 (zero at 128), int16, int32, or
    floats in -1 to 1.

    Args:
        content: a path, a file's bytes, an array, or a stretch of one of them.
        array_rate: samples a second of arrays, which do not say it themselves.

    Raises:
        DecodeError: no sound, an empty or a damaged one.
        DataError: the package that reads files is missing.
    """
    if isinstance(content, Stretch):
        with open_sound(content.content, array_rate) as sound:
            yield _PartOfSound(sound, content.span(sound.length))
        return
    if isinstance(content, np.ndarray):
        yield _ArraySound(content, array_rate)
        return
    package = _soundfile()
    # As bytes, for a name need not be UTF-8.
    opened = os.fsencode(content) if isinstance(content, Path) else io.BytesIO(content)
    try:
        file = package.SoundFile(opened)
    except (package.SoundFileError, OSError) as error:
        raise DecodeError(f"no sound of a known format, or a damaged one: {error}") from error
    with file:
        yield _FileSound(file, package.SoundFileError)


def _soundfile() -> ModuleType:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the library below it is missing
        raise DataError(
            "sound files are read by the package soundfile, which cannot be imported "
            f"({error}); it comes with the extra `audio`: pip install 'anyjepa[audio]'"
        ) from error
    module: ModuleType = soundfile
    return module


@final
class _FileSound(Sound):
    """A file that is open; only the parts asked for are decoded."""

    def __init__(self, file: Any, damage: type[Exception]) -> None:
        self._file, self._damage = file, damage
        self.rate, self.length = int(file.samplerate), int(file.frames)
        if not LOWEST_RATE <= self.rate <= HIGHEST_RATE:
            raise DecodeError(
                f"found {self.rate} samples a second, allowed: {LOWEST_RATE} to {HIGHEST_RATE}"
            )
        if self.length < 1:
            raise DecodeError("empty: the file holds no sample")

    def read(self, start: int, count: int) -> Floats:
        try:
            if self._file.tell() != start:  # a whole file needs no seeking
                self._file.seek(start)
            found = self._file.read(count, dtype="float32", always_2d=True)
        except (self._damage, OSError) as error:
            raise DecodeError(f"damaged: {error}") from error
        if len(found) == 0 or len(found) < count - _SLACK:
            raise DecodeError(
                f"damaged: it announces {self.length} samples and ends after {start + len(found)}"
            )
        return _checked(found.mean(axis=1))


@final
class _ArraySound(Sound):
    """Samples in memory, [n] or [C, n]."""

    def __init__(self, array: np.ndarray, rate: int) -> None:
        rows = array[None] if array.ndim == 1 else array
        if rows.ndim != 2 or 0 in rows.shape or len(rows) > _MOST_CHANNELS:
            raise DecodeError(
                f"found an array of shape {list(array.shape)}, allowed: [n] or [C, n] with C of 1 "
                f"to {_MOST_CHANNELS}"
            )
        if array.dtype not in _INTEGERS and array.dtype.kind != "f":
            raise DecodeError(
                f"found an array of {array.dtype}, allowed: uint8, int16, int32, floats"
            )
        self._rows = rows
        self.rate, self.length = rate, rows.shape[1]

    def read(self, start: int, count: int) -> Floats:
        part = self._rows[:, start : start + count]
        scale = _INTEGERS.get(part.dtype)
        if scale is None:
            mono = _checked(part.astype(np.float32).mean(axis=0))
            if np.abs(mono).max() > _LOUDEST:
                raise DecodeError(
                    f"found floats from {mono.min():g} to {mono.max():g}, allowed: -1 to 1"
                )
            return mono
        middle = 128.0 if part.dtype == np.uint8 else 0.0
        fractions = (part.astype(np.float64) - middle) / scale
        averaged: Floats = fractions.mean(axis=0).astype(np.float32)
        return averaged


@final
class _PartOfSound(Sound):
    """Some samples of a sound, perhaps in the order from the last to the first."""

    def __init__(self, sound: Sound, span: range) -> None:
        self._sound, self._span = sound, span
        self.rate, self.length = sound.rate, len(span)

    def read(self, start: int, count: int) -> Floats:
        part = self._span[start : start + count]
        if part.step > 0:
            return self._sound.read(part.start, len(part))
        return self._sound.read(part[-1], len(part))[::-1].copy()


def _checked(samples: Floats) -> Floats:
    if not np.isfinite(samples).all():
        raise DecodeError("the sound holds infinite values or NaN")
    return samples
