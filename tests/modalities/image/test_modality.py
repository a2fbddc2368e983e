from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from jepa.core import registry
from jepa.core.crop import random_box, resize
from jepa.core.errors import ConfigError
from jepa.core.modality import Modality
from jepa.core.rng import SampleRng
from jepa.core.settings import structure
from jepa.modalities.image import ImageModality
from jepa.modalities.image.decode import open_picture


def photo(height: int = 375, width: int = 500, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (height // 9, width // 9, 3))
    image = Image.fromarray(small.astype(np.uint8))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def modality(**settings: object) -> ImageModality:
    return ImageModality(ImageModality.Config(**settings))


def test_the_entry_point_finds_it():
    assert registry.load(registry.find("modality", "image")) is ImageModality
    assert issubclass(ImageModality, Modality)


def test_training_inputs_are_uint8_and_repeat():
    image = modality(size=(96, 64))
    assert image.spec.shape == (3, 96, 64)
    assert image.spec.axes == ("y", "x")
    content = jpeg(photo())
    first = image.train_input(content, SampleRng(0, 0, 5))
    assert first.dtype == torch.uint8
    assert first.shape == image.spec.shape
    assert torch.equal(first, image.train_input(content, SampleRng(0, 0, 5)))
    assert not torch.equal(first, image.train_input(content, SampleRng(0, 1, 5)))
    assert not torch.equal(first, image.train_input(content, SampleRng(0, 0, 6)))


@pytest.mark.parametrize(
    ("height", "width"), [(375, 500), (500, 375), (224, 224), (100, 90), (768, 300)]
)
@pytest.mark.parametrize(("size", "eval_crop"), [(224, 0.875), (96, 1.0), (64, 0.9)])
def test_evaluation_is_torchvisions(height, width, size, eval_crop):
    image = modality(size=(size, size), eval_crop=eval_crop)
    picture = photo(height, width)
    reference = transforms.Compose(
        [transforms.Resize(round(size / eval_crop)), transforms.CenterCrop(size)]
    )(picture)
    ours = image.eval_input(np.array(picture))
    assert ours.shape == (3, size, size)
    difference = np.abs(np.asarray(reference, int) - ours.permute(1, 2, 0).numpy())
    assert difference.max() <= 2
    assert difference.mean() < 0.4


def test_evaluation_of_a_tiny_picture_keeps_all_of_it():
    array = np.arange(784, dtype=np.uint8).reshape(28, 28)
    image = modality(size=(28, 28), channels=1, eval_crop=1.0)
    assert torch.equal(image.eval_input(array)[0], torch.from_numpy(array))


def test_reduced_decoding_is_close_to_exact_decoding():
    data = jpeg(photo(1500, 2000))
    pixels, _ = open_picture(data, 3).pixels()
    for i in range(5):
        reduced = modality().train_input(data, SampleRng(0, 0, i)).float()
        box = random_box(1500, 2000, (0.3, 1.0), (3 / 4, 4 / 3), SampleRng(0, 0, i))
        scale = 4 if min(box.height, box.width) >= 896 else 2
        top, left, h, w = (side * scale for side in box.reduced(scale))
        assert abs(top - box.top) <= scale / 2
        part = pixels[:, top : top + h, left : left + w]
        exact = resize(part, 224, 224, "bilinear").float()
        assert (reduced - exact).abs().mean() < 2.5
        shifted = (exact[..., 1:] - exact[..., :-1]).abs().mean()
        assert (reduced - exact).abs().mean() < shifted / 10, "a tenth of a shift by one pixel"


def test_orientation_comes_before_the_crop():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = jpeg(photo().transpose(Image.Transpose.ROTATE_90), exif=exif, subsampling=0)
    plain = jpeg(photo(), subsampling=0)
    image = modality()
    for i in range(5):
        a = image.train_input(turned, SampleRng(0, 0, i)).float()
        b = image.train_input(plain, SampleRng(0, 0, i)).float()
        assert (a - b).abs().mean() < 2
    a, b = image.eval_input(turned).float(), image.eval_input(plain).float()
    assert (a - b).abs().mean() < 2


@pytest.mark.parametrize("channels", [1, 3])
def test_normalisation_is_torchvisions(channels):
    mean, std = (0.1, 0.5, 0.7)[:channels], (0.2, 0.3, 0.9)[:channels]
    image = modality(channels=channels, mean=mean, std=std)
    inputs = torch.randint(0, 256, (4, channels, 8, 8), dtype=torch.uint8)
    expected = transforms.Normalize(mean, std)(inputs.float() / 255)
    transform = image.device_transform()
    assert list(transform.parameters()) == []
    assert transform.state_dict() == {}
    torch.testing.assert_close(transform(inputs), expected)


def test_default_normalisation_is_imagenets():
    inputs = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    expected = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(inputs / 255)
    torch.testing.assert_close(modality().device_transform()(inputs), expected)
    grey = transforms.Normalize((0.449,), (0.226,))(inputs[:, :1] / 255)
    torch.testing.assert_close(modality(channels=1).device_transform()(inputs[:, :1]), grey)


@pytest.mark.parametrize("channels", [1, 3])
def test_preview_and_baseline(channels):
    inputs = torch.randint(0, 256, (2, channels, 96, 64), dtype=torch.uint8)
    image = modality(channels=channels, size=(96, 64))
    shown = image.preview(inputs)
    assert shown.shape == (2, 96, 64, 3)
    assert torch.equal(shown[..., 0], inputs[:, 0])
    features = image.baseline(inputs)
    assert features.shape == (2, channels * 32 * 32)
    first = inputs[0, 0, :3, :2].float().mean() / 255
    torch.testing.assert_close(features[0, 0], first)
    small = torch.randint(0, 256, (2, channels, 28, 28), dtype=torch.uint8)
    torch.testing.assert_close(image.baseline(small), small.flatten(1).float() / 255)


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        ({"size": [0, 4]}, "size", "at least 1 pixel"),
        ({"size": 224}, "size", "a list"),
        ({"channels": 2}, "channels", "allowed: 1, 3"),
        ({"crop_scale": [0.5, 1.2]}, "crop_scale", "low <= high <= 1"),
        ({"eval_crop": 0}, "eval_crop", "above 0"),
        ({"mean": [0.5]}, "mean", "allowed: 3, one a channel"),
        ({"std": [0.5, 0.5, 0]}, "std", "above 0"),
        ({"interpolation": "nearest"}, "interpolation", "allowed: 'bilinear', 'bicubic'"),
        ({"flip": True}, "flip", "unknown key"),
    ],
)
def test_wrong_settings_are_refused(raw, path, message):
    with pytest.raises(ConfigError, match=message) as error:
        structure(raw, ImageModality.Config)
    assert error.value.faults[0].path == path


def test_settings_come_from_plain_data():
    raw = {"size": [28, 28], "channels": 1, "mean": [0.286], "std": [0.353]}
    config = structure(raw, ImageModality.Config)
    assert config.size == (28, 28)
    assert config.crop_ratio == (3 / 4, 4 / 3)
    assert structure({}, ImageModality.Config) == ImageModality.Config()
