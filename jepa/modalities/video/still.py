"""Still pictures: frames that are files of their own, and photographs."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from jepa.core.errors import DecodeError
from jepa.modalities.video.film import Frame

STILLS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
"""Endings of files."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""


def read_still(path: Path, enough: int | None = None) -> Frame:
    """Colours of a picture, upright: [H, W, 3].

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
                return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except UnidentifiedImageError as error:
        raise DecodeError(f"{path.name}: no picture of a known format") from error
    except _DAMAGE as error:
        raise DecodeError(f"{path.name}: damaged: {str(error).partition(chr(10))[0]}") from error
