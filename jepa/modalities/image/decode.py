"""Image files and arrays to pixels: uint8 [C, H, W], upright."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import attrs
import numpy as np
import torch
from einops import einsum
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from jepa.core.errors import DecodeError
from jepa.core.modality import Whole
from jepa.core.stills import DAMAGE, first_line, from_16_bits, orientation

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
)
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_SCALES = (8, 4, 2)  # what libjpeg can divide both sides by while it decodes
_TINY = 1e-30  # a constant picture has no range
_LUMA = (19595, 38470, 7471)  # ITU-R 601 in 16 bits, as Pillow and libjpeg have it


@attrs.frozen
class Picture:
    """An image whose size is known and whose pixels may still be compressed.

    Args:
        height: of the upright picture.
        width: of the upright picture.
    """

    height: int
    width: int
    _channels: int
    _pixels: Tensor | None = None
    _jpeg: bytes = b""
    _header: Image.Image | None = None
    _turn: int = 1

    def pixels(self, reduction: int = 1) -> tuple[Tensor, int]:
        """Upright pixels, uint8 [C, h, w], and the r <= `reduction` that both sides are divided by.

        Only JPEGs can be reduced (r is 1, 2, 4 or 8, and sides are rounded up), at a fraction of
        the cost.

        Raises:
            DecodeError: the file is damaged.
        """
        if self._pixels is not None:
            return self._pixels, 1
        scale = next((scale for scale in _SCALES if scale <= reduction), 1)
        try:
            decoded = self._decode_jpeg(scale)
        except (*DAMAGE, RuntimeError) as error:
            raise DecodeError(f"damaged JPEG: {first_line(error)}") from error
        return _upright(decoded, self._turn), scale

    def _decode_jpeg(self, scale: int) -> Tensor:
        header = self._header
        assert header is not None
        if scale == 1 and header.mode in ("L", "RGB"):
            # Here, since it takes longer to import than torch itself, and many data are no JPEGs.
            from torchvision.io import ImageReadMode, decode_jpeg

            data = torch.frombuffer(bytearray(self._jpeg), dtype=torch.uint8)
            mode = ImageReadMode.RGB if self._channels == 3 else ImageReadMode.GRAY
            decoded: Tensor = decode_jpeg(data, mode=mode)
            return decoded
        if scale > 1:
            header.draft(None, (header.width // scale, header.height // scale))
        return _from_pil(header, self._channels)


def open_picture(content: Whole, channels: int) -> Picture:
    """Read an image file as far as its size, or take an array.

    Formats: JPEG, PNG, WebP, GIF (first frame), BMP, TIFF. The orientation of EXIF is applied.
    Transparency is dropped as by Pillow's `convert("RGB")`, the field's usual way. 16-bit samples
    are scaled by 1/257. Samples of 32-bit integers and floats are taken as fractions where they
    lie in [0, 1], as 8 bits in [0, 255], as 16 bits in [0, 65535], and are stretched from their
    least to their greatest value otherwise.

    Arrays are [H, W], [H, W, C] or [C, H, W] with C of 1, 3 or 4; uint8, uint16, or floats in
    [0, 1].

    Args:
        content: a path, a file's bytes, or an array.
        channels: 3 (RGB) or 1 (grey).

    Raises:
        DecodeError: no such picture, or a damaged one.
    """
    if isinstance(content, np.ndarray):
        return _ready(_from_array(content, channels), channels)
    try:
        data = content.read_bytes() if isinstance(content, Path) else content
        with warnings.catch_warnings():
            # Of odd metadata, and of large pictures that are still below the size it refuses.
            warnings.simplefilter("ignore")
            return _open(data, channels)
    except UnidentifiedImageError as error:
        raise DecodeError(f"no picture of a known format ({', '.join(_FORMATS)})") from error
    except DAMAGE as error:
        raise DecodeError(first_line(error)) from error


def _open(data: bytes, channels: int) -> Picture:
    header = Image.open(io.BytesIO(data), formats=_FORMATS)
    if header.format not in ("JPEG", "MPO"):  # MPO: a JPEG with further ones behind it
        return _ready(_upright(_from_pil(header, channels), orientation(header)), channels)
    turn = orientation(header) if "exif" in header.info else 1
    width, height = header.size if turn not in (5, 6, 7, 8) else header.size[::-1]
    return Picture(height, width, channels, None, data, header, turn)


def _ready(pixels: Tensor, channels: int) -> Picture:
    return Picture(pixels.shape[1], pixels.shape[2], channels, pixels)


def _upright(pixels: Tensor, turn: int) -> Tensor:
    """Apply an EXIF orientation (1 to 8) to [C, h, w]; others mean upright."""
    if turn in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 2)
    if turn in (3, 4, 7, 8):
        pixels = pixels.flip(1)
    if turn in (2, 3, 6, 7):
        pixels = pixels.flip(2)
    return pixels


def _from_pil(image: Image.Image, channels: int) -> Tensor:
    """Pixels of a Pillow image of any mode: uint8 [C, H, W]."""
    mode = "RGB" if channels == 3 else "L"
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.mode in ("P", "PA") and "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != mode:
        image = image.convert(mode)
    pixels = torch.from_numpy(np.array(image)).reshape(image.height, image.width, channels)
    return pixels.permute(2, 0, 1)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scale grey values of more than 8 bits: [H, W] of any type to uint8."""
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        return from_16_bits(values)
    wide = values.astype(np.float64)
    low, high = float(wide.min()), float(wide.max())
    if not np.isfinite(low + high):
        raise DecodeError("the picture holds infinite values or NaN")
    if low < 0 or high > 65535:
        wide = (wide - low) * (255 / max(high - low, _TINY))
    elif high > 255:
        wide = wide / 257
    elif values.dtype.kind == "f" and high <= 1:
        wide = wide * 255
    return np.rint(wide).astype(np.uint8)


def _from_array(array: np.ndarray, channels: int) -> Tensor:
    """Pixels of an array: uint8 [C, H, W]."""
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[2] in (1, 3, 4):
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or array.shape[0] not in (1, 3, 4) or 0 in array.shape:
        raise DecodeError(
            f"found an array of shape {list(array.shape)}, allowed: [H, W], [H, W, C] or "
            "[C, H, W] with C of 1, 3 or 4"
        )
    if array.dtype == np.uint16:
        array = from_16_bits(array)
    elif array.dtype.kind == "f":
        low, high = float(array.min()), float(array.max())
        if not (low >= -0.01 and high <= 1.01):
            raise DecodeError(f"found floats from {low:g} to {high:g}, allowed: 0 to 1")
        array = np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DecodeError(f"found an array of {array.dtype}, allowed: uint8, uint16, floats")
    pixels = torch.tensor(np.ascontiguousarray(array[:3]))
    return _with_channels(pixels, channels)


def _with_channels(pixels: Tensor, channels: int) -> Tensor:
    """Grey to RGB or RGB to grey where they differ."""
    if len(pixels) == channels:
        return pixels
    if channels == 3:
        return pixels.expand(3, -1, -1)
    weights = torch.tensor(_LUMA, dtype=torch.int32)
    luma = einsum(pixels.to(torch.int32), weights, "c h w, c -> h w")
    return ((luma + 0x8000) >> 16).to(torch.uint8)[None]
