from __future__ import annotations

import contextlib
import io
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from jepa.core.errors import DecodeError
from jepa.modalities.image.decode import open_picture

ORIENTATION = 0x0112


def picture(height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth coloured picture with no symmetry: uint8 [H, W, 3]."""
    y, x = np.mgrid[:height, :width] / np.array([height, width]).reshape(2, 1, 1)
    return np.rint(255 * np.stack([x, y, x * y], axis=2)).astype(np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def decode(content: object, channels: int = 3, reduction: int = 1) -> Tensor:
    pixels, _ = open_picture(content, channels).pixels(reduction)
    assert pixels.dtype == torch.uint8
    assert pixels.shape[0] == channels
    return pixels


def chw(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.copy()).permute(2, 0, 1)


def distance(a: Tensor, b: Tensor) -> int:
    assert a.shape == b.shape
    return int((a.int() - b.int()).abs().max())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_formats_are_exact(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.fromarray(picture()), kind, **options)
    assert torch.equal(decode(data), chw(picture()))


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "tiff_deflate"])
def test_compressed_tiff(compression):
    data = encode(Image.fromarray(picture()), "TIFF", compression=compression)
    assert distance(decode(data), chw(picture())) <= 12


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_jpeg_is_as_pillow_decodes_it(options):
    data = encode(Image.fromarray(picture()), "JPEG", quality=90, **options)
    reference = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert distance(decode(data), chw(reference)) <= 2


def test_the_first_of_several_jpegs_in_one_file():
    first = Image.fromarray(picture())
    data = encode(first, "MPO", save_all=True, append_images=[Image.new("RGB", first.size)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert distance(decode(data), chw(picture())) <= 12
    assert decode(data, reduction=2).shape == (3, 24, 32)


def test_gif_shows_its_first_frame():
    first = Image.fromarray(picture()).convert("P", palette=Image.Palette.ADAPTIVE)
    data = encode(first, "GIF", save_all=True, append_images=[Image.new("P", first.size)] * 2)
    assert torch.equal(decode(data), chw(np.asarray(first.convert("RGB"))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(kind, turn):
    image = Image.fromarray(picture())
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(image, kind, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    opened = open_picture(data, 3)
    assert (opened.height, opened.width) == upright.size[::-1]
    assert (upright.width == 48) == (turn >= 5), "the reference turns it"
    assert distance(opened.pixels()[0], chw(np.asarray(upright))) <= 2


def test_content_may_be_a_path(tmp_path: Path):
    path = tmp_path / "a.png"
    path.write_bytes(encode(Image.fromarray(picture()), "PNG"))
    assert torch.equal(decode(path), chw(picture()))
    with pytest.raises(DecodeError, match="No such file"):
        decode(tmp_path / "b.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey(kind):
    grey = picture()[..., 0]
    data = encode(Image.fromarray(grey), kind)
    assert distance(decode(data), chw(np.repeat(grey[..., None], 3, axis=2))) <= 2
    assert distance(decode(data, channels=1), torch.from_numpy(grey)[None]) <= 2


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_colour_to_grey(kind):
    data = encode(Image.fromarray(picture()), kind)
    reference = np.array(Image.open(io.BytesIO(data)).convert("L"))
    assert distance(decode(data, channels=1), torch.from_numpy(reference)[None]) <= 2


def test_black_and_white():
    bits = picture()[..., 0] > 100
    data = encode(Image.fromarray(bits), "PNG")
    assert torch.equal(decode(data, 1), torch.from_numpy(bits)[None].to(torch.uint8) * 255)


def test_palette_with_and_without_transparency():
    image = Image.fromarray(picture()).quantize(64)
    reference = chw(np.asarray(image.convert("RGB")))
    assert torch.equal(decode(encode(image, "PNG")), reference)
    transparent = encode(image, "PNG", transparency=bytes(range(64)))
    assert torch.equal(decode(transparent), reference)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_dropped_as_pillow_does(mode):
    image = Image.fromarray(picture()).convert(mode)
    image.putalpha(Image.fromarray(picture()[..., 1]))
    reference = chw(np.asarray(image.convert("RGB")))
    assert torch.equal(decode(encode(image, "PNG")), reference)


def test_cmyk_jpeg_is_as_pillow_converts_it():
    data = encode(Image.fromarray(picture()).convert("CMYK"), "JPEG", quality=95)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    assert distance(decode(data), chw(picture())) <= 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey(kind):
    wide = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    data = encode(Image.fromarray(wide), kind)
    expected = np.rint(wide / 257).astype(np.uint8)
    assert torch.equal(decode(data, 1)[0], torch.from_numpy(expected))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 100.2, 255]], dtype=np.float32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-10, 0, 10]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 1, 255]], dtype=np.int32), [0, 1, 255]),
        (np.array([[0, 257, 65535]], dtype=np.int32), [0, 1, 255]),
        (np.array([[-10, 0, 990]], dtype=np.int32), [0, 3, 255]),
    ],
)
def test_tiffs_of_floats_and_integers_are_scaled(values, expected):
    data = encode(Image.fromarray(values), "TIFF")
    assert decode(data, 1)[0, 0].tolist() == expected


def test_a_tiff_of_nan_is_refused():
    data = encode(Image.fromarray(np.full((2, 2), np.nan, dtype=np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="NaN"):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.3, 0.9])
def test_truncated_files_are_decode_errors(kind, keep):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(DecodeError):
        decode(data[: int(len(data) * keep)])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_damage_gives_pixels_or_a_decode_error(kind):
    data = encode(Image.fromarray(picture()), kind)
    rng = np.random.default_rng(1)
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, min(len(data), 400), 3):
            damaged[position] = rng.integers(256)
        with contextlib.suppress(DecodeError):
            decode(bytes(damaged))


def test_other_content_is_a_decode_error():
    for data in (b"", b"hello", b"%PDF-1.4", bytes(1000)):
        with pytest.raises(DecodeError):
            decode(data)


def test_a_decompression_bomb_is_a_decode_error(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("PNG", "JPEG"):
        with pytest.raises(DecodeError, match="decompression bomb"):
            decode(encode(Image.fromarray(picture()), kind))


def test_arrays_of_all_layouts():
    rgb = picture()
    for array in (rgb, rgb.transpose(2, 0, 1), rgb / 255, (rgb / 255).astype(np.float32)):
        assert torch.equal(decode(array), chw(rgb))
    assert torch.equal(decode(rgb.astype(np.uint16) * 257), chw(rgb))
    grey = rgb[..., 0]
    for array in (grey, grey[None], grey[..., None]):
        assert torch.equal(decode(array, 1)[0], torch.from_numpy(grey.copy()))
        assert torch.equal(decode(array), torch.from_numpy(grey.copy()).expand(3, -1, -1))
    rgba = np.concatenate([rgb, rgb[..., :1]], axis=2)
    assert torch.equal(decode(rgba), chw(rgb))
    luma = np.array(Image.fromarray(rgb).convert("L"))
    assert torch.equal(decode(rgb, 1)[0], torch.from_numpy(luma))


def test_an_array_is_copied():
    array = picture()
    decode(array).zero_()
    assert array.any()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 6, 7), np.uint8), r"shape \[5, 6, 7\], allowed"),
        (np.zeros((5,), np.uint8), r"shape \[1, 5\]|shape \[5\]"),
        (np.zeros((5, 0), np.uint8), "shape"),
        (np.zeros((5, 5), np.int64), "int64, allowed: uint8"),
        (np.full((5, 5), 200.0), "floats from 200 to 200, allowed: 0 to 1"),
        (np.full((5, 5), np.nan), "floats from nan"),
    ],
)
def test_other_arrays_are_decode_errors(array, message):
    with pytest.raises(DecodeError, match=message):
        decode(array)


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_reduced_jpegs_are_close_to_averaged_pixels(mode, turn):
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    image = Image.fromarray(picture(400, 600)).convert(mode)
    data = encode(image, "JPEG", quality=95, exif=exif)
    exact = decode(data).float()
    for wanted, used in ((1, 1), (2, 2), (3, 2), (7, 4), (100, 8)):
        pixels, scale = open_picture(data, 3).pixels(wanted)
        assert scale == used
        averaged = torch.nn.functional.avg_pool2d(exact, used)
        assert pixels.shape == averaged.shape
        assert (pixels.float() - averaged).abs().mean() < 1.5


def test_reduced_sides_are_rounded_up():
    data = encode(Image.fromarray(picture(403, 601)), "JPEG")
    for scale in (2, 4, 8):
        pixels = decode(data, reduction=scale)
        assert pixels.shape[1:] == (-(-403 // scale), -(-601 // scale))


@pytest.mark.parametrize("value", [-1, 70000])
def test_a_constant_picture_beyond_16_bits_is_a_picture(value):
    for dtype in (np.int32, np.float32):
        data = encode(Image.fromarray(np.full((4, 5), value, dtype=dtype)), "TIFF")
        assert decode(data, 1).tolist() == [[[0] * 5] * 4]


def test_dark_pictures_of_16_bits_in_either_byte_order():
    values = np.full((4, 5), 200, dtype=np.uint16)
    little = encode(Image.fromarray(values), "TIFF")
    big = Image.frombytes("I;16B", (5, 4), values.astype(">u2").tobytes())
    assert torch.equal(decode(encode(big, "TIFF"), 1), decode(little, 1))
    assert decode(little, 1).unique().tolist() == [1]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("turn", [math.inf, 0.5, 77])
def test_an_orientation_that_is_none_leaves_a_good_picture(kind, turn):
    # One entry of type FLOAT, which Pillow would not write.
    entry = struct.pack("<2sHIHHHIfI", b"II", 42, 8, 1, ORIENTATION, 11, 1, turn, 0)
    data = b"Exif\0\0" + entry
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(picture())
    plain = decode(encode(image, kind, **options))
    assert torch.equal(decode(encode(image, kind, exif=data, **options)), plain)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_damaged_exif_leaves_a_good_picture(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(picture())
    plain = decode(encode(image, kind, **options))
    assert torch.equal(decode(encode(image, kind, exif=b"Exif\0\0garbage!", **options)), plain)
