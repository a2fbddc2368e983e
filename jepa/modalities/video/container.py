"""Films that are files. Only wanted frames are decoded, and those that they are decoded from."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np

from jepa.core.errors import DecodeError
from jepa.modalities.video.files import Opened, decoded, opened, pyav
from jepa.modalities.video.film import Film, Floats, Frame
from jepa.modalities.video.packets import scan
from jepa.modalities.video.upright import Upright

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_WORTH_A_JUMP = 16
"""Frames that a jump must spare; the decoder begins anew after it."""
_HIDDEN = 1
"""Packets in a row that may give no frame of their own: half frames, or never to be shown."""


class _Decoded(NamedTuple):
    place: int
    frame: VideoFrame
    whole: bool


@final
class FileFilm(Film):
    """A file. Its packets are read through once; then decoding jumps to where frames are wanted.

    Files that cannot jump are decoded from their start, up to the last frame wanted.

    Raises:
        DecodeError: no film, an empty or a damaged one.
        DataError: the package that reads files is missing.
    """

    def __init__(self, content: Path | bytes) -> None:
        self._content = content
        self._packets = scan(content)
        self.length = len(self._packets.stamps)

    @property
    def times(self) -> Floats:
        """Seconds at which each frame is shown: [length]."""
        times: Floats = self._packets.stamps.astype(np.float64) * self._packets.second
        return times

    def frames(self, places: Sequence[int]) -> Iterator[tuple[int, Frame]]:
        """Places with their frames, ascending. See `Film.frames`."""
        upright = Upright(self._packets.pixel)
        for key, wanted in self._legs(places):
            for place, found in self._leg(key, wanted):
                if not found.whole:
                    raise DecodeError(f"damaged: frame {place} of {self.length}")
                yield place, upright(found.frame)

    def _legs(self, places: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Frames to be decoded in one go, after the place where decoding begins: 0, or a key."""
        begin, leg, last = 0, list[int](), 0
        for place in sorted(places):
            key = self._packets.key(place)
            if key - last >= _WORTH_A_JUMP:
                if leg:
                    yield begin, leg
                begin, leg = key, []
            leg.append(place)
            last = place
        yield begin, leg

    def _leg(self, key: int, wanted: list[int]) -> Iterator[tuple[int, _Decoded]]:
        """Frames wanted, decoded from a key on; from the start where the file cannot jump there."""
        if key:
            with opened(self._content) as file:
                found = self._after_jump(file, key, wanted)
                if found is not None:
                    yield from found
                    return
        with opened(self._content) as file:
            yield from self._shown(self._numbered(file), wanted)

    def _after_jump(
        self, file: Opened, key: int, wanted: list[int]
    ) -> Iterator[tuple[int, _Decoded]] | None:
        try:
            file.container.seek(int(self._packets.stamps[key]), stream=file.stream)
        except pyav().error.FFmpegError:
            return None
        numbered = self._numbered(file)
        first = next(numbered, None)
        if first is None or first.place > wanted[0]:  # it went too far
            return None
        return self._shown(itertools.chain([first], numbered), wanted)

    def _numbered(self, file: Opened) -> Iterator[_Decoded]:
        """Decoded frames with their places."""
        whole = True
        for count, frame in enumerate(decoded(file)):
            # What is decoded from a damaged frame holds its damage, and is not marked.
            whole = not frame.is_corrupt and (whole or bool(frame.key_frame))
            if self._packets.counted:
                yield _Decoded(count, frame, whole)
            elif frame.pts is not None and (place := self._packets.place(frame.pts)) >= 0:
                yield _Decoded(place, frame, whole)

    def _shown(
        self, numbered: Iterable[_Decoded], wanted: list[int]
    ) -> Iterator[tuple[int, _Decoded]]:
        """The frames at the places wanted, which ascend.

        For a packet that gives no frame of its own, the frame before it stands.
        """
        rest = deque(wanted)
        held: _Decoded | None = None
        for found in numbered:
            while rest[0] < found.place and held is not None and rest[0] - held.place <= _HIDDEN:
                yield rest.popleft(), held
                if not rest:
                    return
            if rest[0] < found.place:
                break
            if rest[0] == found.place:
                yield rest.popleft(), found
                if not rest:
                    return
            held = found
        while rest and held is not None and 0 < rest[0] - held.place <= _HIDDEN:
            yield rest.popleft(), held
        if rest:
            raise DecodeError(f"damaged: it announces {self.length} frames, and {rest[0]} is lost")
