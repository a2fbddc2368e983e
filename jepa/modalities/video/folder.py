"""Films that are folders with a picture a frame."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jepa.core.errors import DecodeError
from jepa.modalities.video.film import Film, Frame

FRAME_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


@final
class FolderFilm(Film):
    """The pictures that stand in a folder, in natural order: frame2 before frame10.

    Raises:
        DecodeError: the folder holds no picture, or cannot be read.
    """

    times = None

    def __init__(self, folder: Path) -> None:
        try:
            names = [
                path.name
                for path in folder.iterdir()
                if path.suffix.lower() in FRAME_ENDINGS and not path.name.startswith(".")
            ]
        except OSError as error:
            raise DecodeError(f"the folder cannot be read: {error.strerror}") from error
        if not names:
            raise DecodeError(
                f"the folder holds no frame: no file that ends in "
                f"{', '.join(sorted(FRAME_ENDINGS))}"
            )
        self._folder = folder
        self._names = sorted(names, key=natural)
        self.length = len(names)

    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames. See `Film.frames`."""
        shape: tuple[int, ...] | None = None
        for place in places:
            frame = _read(self._folder / self._names[place])
            shape = shape or frame.shape
            if frame.shape != shape:
                raise DecodeError(
                    f"{self._names[place]}: found {frame.shape[1]} x {frame.shape[0]} pixels, and "
                    f"{self._names[places[0]]} has {shape[1]} x {shape[0]}; allowed: one size"
                )
            yield place, frame


def natural(name: str) -> tuple[tuple[int | str, ...], str]:
    """A key that sorts numbers inside names by their value."""
    parts = re.split(r"(\d+)", name)  # texts and numbers in turn, so like meets like
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def _read(path: Path) -> Frame:
    """Colours of a picture, upright: [H, W, 3]."""
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError as error:
        raise DecodeError(f"{path.name}: no picture of a known format") from error
    except _DAMAGE as error:
        raise DecodeError(f"{path.name}: damaged: {error}") from error
