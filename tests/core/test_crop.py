from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.functional import InterpolationMode, resized_crop

from jepa.core.crop import Box, center, cover, random_box, resize
from jepa.core.rng import SampleRng

RATIO = (3 / 4, 4 / 3)


@pytest.mark.parametrize(
    ("height", "width", "scale", "ratio"),
    [
        (375, 500, (0.3, 1.0), RATIO),
        (500, 333, (0.08, 1.0), RATIO),
        (100, 1000, (0.3, 1.0), RATIO),  # mostly the central part
        (64, 80, (0.5, 0.9), (1.0, 2.0)),
    ],
)
def test_boxes_are_distributed_as_torchvisions(height, width, scale, ratio):
    n = 4000
    ours = np.array([random_box(height, width, scale, ratio, SampleRng(0, 0, i)) for i in range(n)])
    torch.manual_seed(0)
    image = torch.empty(1, height, width)
    theirs = np.array([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(n)])
    assert (ours >= 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all()
    assert (ours[:, 1] + ours[:, 3] <= width).all()
    for name, a, b in (
        *zip(("top", "left", "height", "width"), ours.T, theirs.T, strict=True),
        ("area", ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]),
        ("aspect", ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]),
    ):
        assert stats.ks_2samp(a, b).pvalue > 1e-3, name
    # A constant column has no correlation.
    with np.errstate(invalid="ignore", divide="ignore"):
        difference = np.nan_to_num(np.corrcoef(ours.T)) - np.nan_to_num(np.corrcoef(theirs.T))
    assert abs(difference).max() < 0.1


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_tiny_and_thin_pictures_have_a_box(height, width):
    for i in range(50):
        top, left, h, w = random_box(height, width, (0.3, 1.0), RATIO, SampleRng(0, 0, i))
        assert h >= 1
        assert w >= 1
        assert 0 <= top <= height - h
        assert 0 <= left <= width - w


def test_a_box_is_a_function_of_its_rng():
    boxes = {random_box(375, 500, (0.3, 1.0), RATIO, SampleRng(1, 2, 3)) for _ in range(5)}
    assert len(boxes) == 1


def test_reduced_boxes_keep_what_is_needed():
    for scale in (2, 4, 8):
        for top in range(0, 40):
            for height in range(scale, 70):
                box = Box(top, 0, height, scale).reduced(scale)
                assert box.height >= height // scale
                assert box.top + box.height <= -(-(top + height) // scale)
                assert abs(box.top - top / scale) <= 0.5


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("box", [Box(10, 20, 300, 280), Box(0, 0, 375, 500), Box(100, 40, 90, 60)])
def test_crops_are_resized_as_pillow_does(box, interpolation):
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(small).resize((500, 375), Image.Resampling.BICUBIC)
    reference = resized_crop(image, *box, (224, 224), InterpolationMode(interpolation))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    top, left, h, w = box
    ours = resize(pixels[:, top : top + h, left : left + w], 224, 224, interpolation)
    difference = np.abs(np.asarray(reference, int) - ours.permute(1, 2, 0).numpy())
    assert difference.max() <= 2
    assert difference.mean() < 0.3


def test_cover_and_center_of_oblongs():
    assert cover(375, 500, (256, 256)) == (256, 341)
    assert cover(500, 375, (256, 256)) == (341, 256)
    assert cover(28, 28, (28, 28)) == (28, 28)
    assert cover(100, 100, (64, 128)) == (128, 128)
    assert cover(100, 400, (64, 128)) == (64, 256)
    assert center(341, 256, (224, 224)) == Box(58, 16, 224, 224)
