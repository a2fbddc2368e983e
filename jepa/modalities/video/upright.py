"""Decoded frames to colours as people see them: upright, of square pixels, all of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from jepa.core.errors import DecodeError
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
    to that. Transparency is dropped, and colours of more than 8 bits are rounded. Colours that are
    coded in a way that FFmpeg does not convert (YCgCo, ICtCp) are taken for BT.709.

    Args:
        pixel: width over height of a pixel.
    """

    def __init__(self, pixel: float) -> None:
        self._pixel = pixel if 1 / _ODDEST <= pixel <= _ODDEST else 1.0
        self._size: tuple[int, int] | None = None
        # One for all frames: to make it takes longer than to use it.
        self._reformatter = pyav().video.reformatter.VideoReformatter()

    def __call__(self, frame: VideoFrame) -> Frame:
        """[H, W, 3] of a frame.

        Raises:
            DecodeError: its colours cannot be converted.
        """
        if self._size is None:
            self._size = max(1, round(frame.width * self._pixel)), frame.height
        colours = self._rgb(frame, *self._size)
        return turned(colours, frame.side_data.get("DISPLAYMATRIX"))

    def _rgb(self, frame: VideoFrame, width: int, height: int) -> Frame:
        av = pyav()
        for matrix in (None, av.video.reformatter.Colorspace.ITU709):
            try:
                plain = self._reformatter.reformat(
                    frame, width, height, "rgb24", src_colorspace=matrix, threads=1
                )
                colours: Frame = plain.to_ndarray()
                return colours
            except av.error.FFmpegError as error:
                reason = error.strerror
        raise DecodeError(f"its colours cannot be converted: {reason}")


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
