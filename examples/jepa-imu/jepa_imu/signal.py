"""From a file, or an array, to a piece of a series: float32 [C, T]."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from jepa.core import Content, DecodeError, Stretch, whole

EXTENSIONS = frozenset({".npy", ".npz"})


def read_series(content: Content, channels: int) -> np.ndarray:
    """A series [n, C]: time first, as sensors write it. A stretch may run backwards.

    Of an .npy file no value is read yet: `cut` reads its piece.

    Args:
        content: an .npy, an .npz with one array, the bytes of one, an array, or a stretch of these.
        channels: that it must have, C. One channel may come as [n].

    Raises:
        DecodeError: no array of numbers with so many channels.
    """
    found = whole(content)
    values = found if isinstance(found, np.ndarray) else _load(found)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != channels or len(values) == 0:
        raise DecodeError(
            f"found an array of shape {list(values.shape)}, allowed: [n, {channels}] with n above 0"
        )
    if values.dtype.kind not in "iuf":
        raise DecodeError(f"found an array of {values.dtype}, allowed: numbers")
    if isinstance(content, Stretch):
        span = content.span(len(values))
        values = values[min(span[0], span[-1]) :][: len(span)][:: span.step]
    return values


def _load(content: Path | bytes) -> np.ndarray:
    """The array of an .npy, or the only one of an .npz. Nothing pickled is read."""
    try:
        if isinstance(content, Path):
            found = np.load(content, mmap_mode="r", allow_pickle=False)
        else:
            found = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            (name,) = found.files
            array: np.ndarray = found[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DecodeError(f"no array can be read: {error}") from error
    return array


def cut(series: np.ndarray, length: int, place: float) -> Tensor:
    """Values [n, C] -> float32 [C, T] of them. A series that is too short is repeated.

    Args:
        series: n values.
        length: T.
        place: 0 to below 1, among the n - T + 1 places where the piece can begin.

    Raises:
        DecodeError: the piece holds infinite values or NaN.
    """
    repeats = -(-length // len(series))
    if repeats > 1:
        series = np.tile(series, (repeats, 1))
    first = int(place * (len(series) - length + 1))
    with np.errstate(over="ignore"):
        piece = np.array(series[first : first + length].T, dtype=np.float32, order="C")
    if not np.isfinite(piece).all():
        raise DecodeError("the series holds infinite values or NaN, or such as float32 cannot hold")
    return torch.from_numpy(piece)
