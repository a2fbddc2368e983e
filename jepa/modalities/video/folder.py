"""Films that are folders with a picture a frame."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import final

from jepa.core.errors import DecodeError
from jepa.modalities.video.film import Film, Frame
from jepa.modalities.video.still import STILLS, read_still


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
                if path.suffix.lower() in STILLS and not path.name.startswith(".")
            ]
        except OSError as error:
            raise DecodeError(f"the folder cannot be read: {error.strerror}") from error
        if not names:
            raise DecodeError(
                f"the folder holds no frame: no file that ends in {', '.join(sorted(STILLS))}"
            )
        self._folder = folder
        self._names = sorted(names, key=natural)
        self.length = len(names)

    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames. See `Film.frames`."""
        shape: tuple[int, ...] | None = None
        for place in places:
            frame = read_still(self._folder / self._names[place])
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
