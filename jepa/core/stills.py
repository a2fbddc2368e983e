"""What readers of picture files need of Pillow: its errors, EXIF's orientation, 16 bits."""

from __future__ import annotations

import struct

import numpy as np
from PIL import Image

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""

_ORIENTATION = 0x0112
_TURNS = range(1, 9)


def orientation(header: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; damaged metadata leave a good picture upright."""
    try:
        turn = header.getexif().get(_ORIENTATION, 1)
    except DAMAGE:
        return 1
    return int(turn) if turn in _TURNS else 1


def from_16_bits(values: np.ndarray) -> np.ndarray:
    """Scale unsigned 16-bit values by 1/257, to the nearest: uint8 of the same shape."""
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its type where it says nothing."""
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
