"""Made-up films for the tests. Each frame carries its number, as ten stripes: binary digits."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

HEIGHT, WIDTH, DIGITS = 32, 80, 10
"""The highest digit is the left stripe."""
CODECS = {
    "mp4": ("libx264", "yuv420p"),
    "m4v": ("mpeg4", "yuv420p"),
    "mov": ("libx264", "yuv444p"),
    "mkv": ("libx264", "yuv420p"),
    "webm": ("libvpx-vp9", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def frame(number: int, height: int = HEIGHT) -> np.ndarray:
    """uint8 [height, 80, 3]: dark and light stripes."""
    digits = [number >> place & 1 for place in reversed(range(DIGITS))]
    row = np.repeat(np.array(digits, dtype=np.uint8) * 160 + 40, WIDTH // DIGITS)
    return np.broadcast_to(row[None, :, None], (height, WIDTH, 3)).copy()


def number(colours: np.ndarray) -> int:
    """Which frame this is: [H, 80, 3] of any brightness that tells dark from light."""
    means = np.asarray(colours).reshape(len(colours), DIGITS, -1).mean((0, 2))
    return int(sum(int(mean > 120) << place for place, mean in enumerate(reversed(means))))


def numbers(clip) -> list[int]:
    """Of each frame of a clip [3, T, H, 80]."""
    return [number(colours) for colours in np.asarray(clip).transpose(1, 2, 3, 0)]


def film(count: int) -> np.ndarray:
    """uint8 [count, 32, 80, 3]."""
    return np.stack([frame(place) for place in range(count)])


def write(
    path: Path,
    frames: Sequence[np.ndarray] | np.ndarray,
    *,
    rate: int = 10,
    stamps: Sequence[int] | None = None,
    codec: str | None = None,
    pixels: str | None = None,
    options: dict[str, str] | None = None,
    rotation: int | None = None,
    mirror: bool = False,
    aspect: Fraction | None = None,
    bits: int = 400_000,
) -> Path:
    """Write a film file; `stamps` are times of frames in units of 1 / rate."""
    import av

    usual, usual_pixels = CODECS[path.suffix[1:]]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec or usual, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.bit_rate = pixels or usual_pixels, bits
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=mirror)
        for place, colours in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(colours), format="rgb24")
            picture.pts = place if stamps is None else stamps[place]
            picture.time_base = Fraction(1, rate)
            for packet in stream.encode(picture):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def folder(path: Path, frames: Sequence[np.ndarray] | np.ndarray, ending: str = "png") -> Path:
    """A folder with a picture a frame: frame0, frame1, ..., frame10."""
    from PIL import Image

    path.mkdir(parents=True)
    for place, colours in enumerate(frames):
        Image.fromarray(colours).save(path / f"frame{place}.{ending}")
    return path


def pieces(data: bytes, parts: int) -> Iterator[io.BytesIO]:
    """The first 1, 2, ... parts of some bytes."""
    for part in range(1, parts):
        yield io.BytesIO(data[: len(data) * part // parts])
