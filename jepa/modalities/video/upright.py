"""Decoded frames to colours as people see them: upright, of square pixels, all of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from jepa.modalities.video.files import pyav
from jepa.modalities.video.film import Frame

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_ODDEST = 4.0
"""Width over height of a pixel, or the inverse, from which on it is taken for an error."""


@final
class Upright:
    """Brings the frames of one file to uint8 [H, W, 3], RGB.

    Frames are turned and mirrored as the file asks for. Pixels that are not square are made so by
    another width. Frames of another size than the first one's, where a file changes it, are scaled
    to that. Transparency is dropped, and colours of more than 8 bits are rounded.

    Args:
        pixel: width over height of a pixel.
    """

    def __init__(self, pixel: float) -> None:
        self._pixel = pixel if 1 / _ODDEST <= pixel <= _ODDEST else 1.0
        self._size: tuple[int, int] | None = None
        # One for all frames: to make it takes longer than to use it.
        self._reformatter = pyav().video.reformatter.VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frame:
        """[H, W, 3] of a frame."""
        if self._size is None:
            self._size = max(1, round(frame.width * self._pixel)), frame.height
        width, height = self._size
        plain = self._reformatter.reformat(frame, width, height, "rgb24", threads=1)
        return turned(plain.to_ndarray(), frame.side_data.get("DISPLAYMATRIX"))


def turned(colours: Frame, matrix: object) -> Frame:
    """Apply a display matrix of FFmpeg to [h, w, 3]: the nearest of the eight ways to lay it.

    Args:
        colours: as they are stored.
        matrix: nine int32 of which the first two of the first two rows, (a b) and (c d), take the
            place (x, y) to (a x + c y, b x + d y), y pointing down; None: upright already.
    """
    if matrix is None:
        return colours
    values: npt.NDArray[np.int32] = np.frombuffer(matrix, dtype=np.int32)  # type: ignore[call-overload]
    a, b, c, d = (int(values[place]) for place in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        colours, across, down = colours.transpose(1, 0, 2), c, b
    else:
        across, down = a, d
    return colours[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1]
