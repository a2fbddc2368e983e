"""Films that are open, of which frames can be read: files, folders of frames, arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import numpy.typing as npt
from einops import repeat

from jepa.core.errors import DecodeError

Floats = npt.NDArray[np.float64]
Frame = npt.NDArray[np.uint8]
"""Colours of one frame: [H, W, 3]."""


class Film(ABC):
    """A film whose frames are known by number and may still be compressed.

    Attributes:
        length: frames, at least one.
    """

    length: int

    @property
    @abstractmethod
    def times(self) -> Floats | None:
        """Seconds at which each frame is shown, ascending: [length]. None: the film has none."""

    @abstractmethod
    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames, one at a time and in any order; all frames are of one size.

        Args:
            places: of the frames wanted, each once.

        Raises:
            DecodeError: the film is damaged there.
        """


@final
class ArrayFilm(Film):
    """Frames in memory."""

    times = None

    def __init__(self, array: np.ndarray) -> None:
        frames = array[..., None] if array.ndim == 3 else array
        if frames.ndim != 4 or frames.shape[3] not in (1, 3) or 0 in frames.shape:
            raise DecodeError(
                f"found an array of shape {list(array.shape)}, allowed: [T, H, W, 3], "
                "[T, H, W, 1] or [T, H, W]"
            )
        if array.dtype != np.uint8:
            raise DecodeError(f"found an array of {array.dtype}, allowed: uint8")
        self._frames = frames
        self.length = len(frames)

    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames. See `Film.frames`."""
        for place in places:
            frame = self._frames[place]
            yield place, repeat(frame, "h w 1 -> h w c", c=3) if frame.shape[2] == 1 else frame


@final
class PartOfFilm(Film):
    """Some frames of a film, perhaps in the order from the last to the first."""

    def __init__(self, film: Film, span: range) -> None:
        self._film, self._span = film, span
        self.length = len(span)

    @property
    def times(self) -> Floats | None:
        """Times of the whole film; backwards, counted from its end."""
        whole = self._film.times
        return None if whole is None else whole[list(self._span)] * self._span.step

    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames, in the whole film's order. See `Film.frames`."""
        here = {self._span[place]: place for place in places}
        for place, frame in self._film.frames(sorted(here)):
            yield here[place], frame
