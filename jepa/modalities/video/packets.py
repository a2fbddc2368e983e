"""When the frames of a file are shown and where decoding can begin, from its packets alone.

Nothing is decoded for it: packets are read and say their times. Headers are not asked: many say
nothing of frames (WebM, GIF), and those of files that were cut off say too much.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import attrs
import numpy as np
import numpy.typing as npt

from jepa.core.errors import DecodeError
from jepa.modalities.video.files import Opened, opened, pyav

Ints = npt.NDArray[np.int64]

_USUAL_RATE = 25
_LARGE = 8 << 20
"""Bytes from which on a file's packets are remembered: reading through it takes long."""
_REMEMBERED = 64


@attrs.frozen
class Packets:
    """The frames of a file in the order in which they are shown.

    Args:
        stamps: when each is shown, in units of `second`, ascending: [n], n at least 1.
        keys: places of the frames at which decoding can begin, ascending; the first is 0.
        second: length of a unit of the stamps, in seconds.
        counted: the file keeps no such times, so frames are known by counting them from the start.
        pixel: width over height of a pixel.
    """

    stamps: Ints
    keys: Ints
    second: float
    counted: bool
    pixel: float

    def key(self, place: int) -> int:
        """Place of the last frame before `place`, or at it, at which decoding can begin."""
        return int(self.keys[np.searchsorted(self.keys, place, side="right") - 1])

    def place(self, stamp: int) -> int:
        """Place of the frame that is shown at a time; -1 before the first."""
        return int(np.searchsorted(self.stamps, stamp, side="right")) - 1


def scan(content: Path | bytes) -> Packets:
    """Read through a file, once; those of the last 64 large files are remembered.

    Raises:
        DecodeError: no film, an empty one, or one that is damaged from its beginning.
        DataError: the package that reads files is missing.
    """
    if isinstance(content, Path):
        try:
            stat = content.stat()
        except OSError as error:
            raise DecodeError(f"cannot be read: {error.strerror}") from error
        if stat.st_size >= _LARGE:
            return _remembered(content, stat.st_size, stat.st_mtime_ns)
    return _scan(content)


@functools.lru_cache(maxsize=_REMEMBERED)
def _remembered(path: Path, size: int, changed: int) -> Packets:
    return _scan(path)


def _scan(content: Path | bytes) -> Packets:
    with opened(content) as file:
        found = _read(file)
        # AVI keeps no times, and guesses fail where frames are stored in another order.
        disordered = file.container.format.name == "avi" and file.stream.codec_context.has_b_frames
        rate = file.stream.average_rate or _USUAL_RATE
        unit = float(file.stream.time_base or 0)
        pixel = float(file.stream.sample_aspect_ratio or 1)
    if not any(packet.shown for packet in found):
        raise DecodeError("empty: the file holds no frame")
    times = [packet.stamp for packet in found if packet.stamp is not None]
    if disordered or unit <= 0 or len(times) < len(found):
        count = np.arange(len(found), dtype=np.int64)
        return Packets(count, count[:1], float(1 / rate), True, pixel)
    stamps = _sorted(packet.stamp for packet in found if packet.shown)
    keys = _sorted(packet.stamp for packet in found if packet.key)
    if not len(keys):  # rare, and decoders do what they can
        return Packets(stamps, np.zeros(1, dtype=np.int64), unit, False, pixel)
    stamps = stamps[stamps >= keys[0]]  # nothing before it can be decoded
    if not len(stamps):
        raise DecodeError("damaged: decoding can begin at no frame of the file")
    # Decoding of the first frames may begin before them, at one that is not to be shown.
    places = np.unique(np.searchsorted(stamps, keys))
    return Packets(stamps, places[places < len(stamps)], unit, False, pixel)


class _Packet(NamedTuple):
    stamp: int | None
    key: bool
    shown: bool


def _read(file: Opened) -> list[_Packet]:
    """What packets say of themselves; ones that are whole only in part are left out."""
    found: list[_Packet] = []
    try:
        for packet in file.container.demux(file.stream):
            if packet.size and not packet.is_corrupt:
                found.append(_Packet(packet.pts, packet.is_keyframe, not packet.is_discard))
    except pyav().error.FFmpegError as error:
        if not found:
            raise DecodeError(f"damaged: {error.strerror}") from error
    return found


def _sorted(stamps: Iterable[int | None]) -> Ints:
    return np.unique(np.array([stamp for stamp in stamps if stamp is not None], dtype=np.int64))
