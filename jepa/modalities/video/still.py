"""Still pictures: frames that are files of their own, and photographs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from jepa.core.errors import DecodeError
from jepa.core.stills import DAMAGE, first_line, from_16_bits, orientation
from jepa.modalities.video.film import Frame

STILLS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of files."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts a picture upright, by its EXIF orientation."""


def read_still(path: Path, enough: int | None = None) -> Frame:
    """Colours of a picture, upright: [H, W, 3]. Samples of 16 bits are scaled by 1/257.

    Args:
        path: of the file.
        enough: a side that suffices, so that larger JPEGs are read at a part of their size; None:
            all there is.

    Raises:
        DecodeError: it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            with Image.open(path, formats=_FORMATS) as picture:
                if enough is not None:
                    picture.draft("RGB", (enough, enough))
                turn = _TURNS.get(orientation(picture))
                upright = picture if turn is None else picture.transpose(turn)
                return np.asarray(_of_8_bits(upright, path).convert("RGB"))
    except UnidentifiedImageError as error:
        raise DecodeError(f"{path.name}: no picture of a known format") from error
    except DAMAGE as error:
        raise DecodeError(f"{path.name}: damaged: {first_line(error)}") from error


def _of_8_bits(picture: Image.Image, path: Path) -> Image.Image:
    if picture.mode.startswith("I;16"):
        return Image.fromarray(from_16_bits(np.asarray(picture)))
    if picture.mode in ("I", "F"):  # frames stretched one by one would flicker
        raise DecodeError(f"{path.name}: found samples of 32 bits, allowed: 8 or 16")
    return picture
