"""Opening film files by PyAV, which is imported when a file is opened and not before."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from jepa.core.errors import DataError, DecodeError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})

_FORMATS = "mov,mp4,matroska,webm,avi,gif"
"""What a file may hold; others, such as playlists, would open further files."""
_MOST_PIXELS = 1 << 26
_COVER = 0x400
"""FFmpeg's mark of a stream that is a still picture, such as the cover of a record."""


class Opened(NamedTuple):
    """A file that is open, and its first film."""

    container: InputContainer
    stream: VideoStream


@contextlib.contextmanager
def opened(content: Path | bytes) -> Iterator[Opened]:
    """Open a file and find its first film; closed on leaving.

    Raises:
        DecodeError: no film, or a damaged one.
        DataError: the package that reads files is missing.
    """
    av = pyav()
    file = str(content.absolute()) if isinstance(content, Path) else io.BytesIO(content)
    try:
        container = av.open(
            file, metadata_errors="replace", container_options={"format_whitelist": _FORMATS}
        )
    except av.error.FFmpegError as error:
        raise DecodeError(f"no film of a known format, or damaged: {error.strerror}") from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & _COVER]
        if not streams:
            raise DecodeError("the file holds no film: it has no stream of pictures")
        stream = streams[0]
        _check(stream)
        # Worker processes share the cores among themselves; each thread would hold frames, too.
        stream.codec_context.thread_count = 1
        yield Opened(container, stream)


def pyav() -> ModuleType:
    """The package av.

    Raises:
        DataError: it cannot be imported.
    """
    try:
        import av
        import av.error
    except (ImportError, OSError) as error:  # OSError: a library below it is missing
        raise DataError(
            f"film files are read by the package av, which cannot be imported ({error}); it comes "
            "with the extra `video`: pip install 'anyjepa[video]'"
        ) from error
    module: ModuleType = av
    return module


def decoded(file: Opened) -> Iterator[VideoFrame]:
    """Frames from where the file stands, in the order in which they are shown.

    Raises:
        DecodeError: damage.
    """
    error = pyav().error.FFmpegError
    packets = file.container.demux(file.stream)
    while True:
        try:
            packet = next(packets, None)
        except error:  # cut off; the decoder may still hold whole frames
            packet = None
        try:
            if packet is None:
                yield from file.stream.codec_context.decode(None)
                return
            # AVI shows a frame once more by a packet without data, which to a decoder is the end.
            if not packet.is_corrupt and (packet.size or packet.dts is None):
                yield from packet.decode()
        except error as damage:
            raise DecodeError(f"damaged: {damage.strerror}") from damage
        if packet.dts is None and packet.size == 0:  # the decoder is empty
            return


def _check(stream: VideoStream) -> None:
    context = stream.codec_context
    if context is None:
        raise DecodeError("the film is coded in a way that the installed FFmpeg cannot decode")
    if context.width * context.height > _MOST_PIXELS:
        raise DecodeError(
            f"found frames of {context.width} x {context.height} pixels, allowed: {_MOST_PIXELS} "
            "of them"
        )
