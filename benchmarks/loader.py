"""Decoded and cropped images a second and core, against torchvision's ImageFolder.

    python benchmarks/loader.py --output benchmarks/results/loader.json

Both read the same 500 x 375 JPEGs, take a random resized crop of 224 (scale 0.3 to 1, bilinear)
and share no work. torchvision ends with normalised floats; ours end with uint8, as they travel to
the device, and once more with the normalisation done on the CPU, so that both ends are the same.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from common import report
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler
from torchvision import transforms
from torchvision.datasets import ImageFolder

from jepa.core.channels import IMAGENET_MEAN, IMAGENET_STD
from jepa.core.data.folder import Folder
from jepa.core.data.loading import load
from jepa.core.data.source import Place
from jepa.core.rng import SampleRng
from jepa.modalities.image import ImageModality
from jepa.modalities.image.embedded import FashionMnist

CIFAR = Path(__file__).parents[2] / "shared/data/image-cifar10/cifar10-jpeg.tar.xz"
HEIGHT, WIDTH, SIZE = 375, 500, 224
BATCH = 32


# --- pictures -----------------------------------------------------------------------------------


def small_pictures(n: int) -> tuple[list[Image.Image], str]:
    """Real pictures to build large ones from, and what they are."""
    if not CIFAR.exists():
        place = Place(root=None, split="train", extensions=frozenset(), cache=Path())
        source = FashionMnist(FashionMnist.Config(), place=place)
        arrays = (source.item(i).content for i in range(0, len(source), len(source) // n))
        return [Image.fromarray(array).convert("RGB") for array in arrays], "Fashion-MNIST"
    found = []
    with tarfile.open(CIFAR) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                found.append(Image.open(io.BytesIO(file.read())).convert("RGB"))
            if len(found) == n:
                break
    return found, "CIFAR-10 (JPEG)"


def mosaic(pictures: list[Image.Image], cell: int, rng: np.random.Generator) -> np.ndarray:
    """Pictures side by side, each resized to `cell` pixels: [HEIGHT, WIDTH, 3]."""
    sheet = Image.new("RGB", (WIDTH, HEIGHT))
    for top in range(0, HEIGHT, cell):
        for left in range(0, WIDTH, cell):
            chosen = pictures[rng.integers(len(pictures))]
            sheet.paste(chosen.resize((cell, cell), Image.Resampling.BICUBIC), (left, top))
    return np.asarray(sheet, dtype=np.float32)


def make_pictures(folder: Path, n: int, quality: int) -> dict[str, Any]:
    """Write n JPEGs with coarse, middle and fine structure, as photographs have it."""
    rng = np.random.default_rng(0)
    pictures, origin = small_pictures(4000)
    folder.mkdir(parents=True)
    sizes = []
    for i in range(n):
        layers = [mosaic(pictures, cell, rng) for cell in (250, 125, 32)]
        detail = sum(w * (x - x.mean()) for w, x in zip((0.3, 0.45), layers[1:], strict=True))
        pixels = np.clip(layers[0] + detail, 0, 255).astype(np.uint8)
        path = folder / f"{i:04d}.jpg"
        Image.fromarray(pixels).save(path, quality=quality)
        sizes.append(path.stat().st_size)
    return {
        "origin": origin,
        "number": n,
        "pixels": f"{WIDTH} x {HEIGHT}",
        "quality": quality,
        "mean_kilobytes": round(statistics.mean(sizes) / 1000, 1),
    }


# --- contenders ---------------------------------------------------------------------------------


def torchvision_set(root: Path) -> ImageFolder:
    return ImageFolder(
        str(root),
        transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, scale=(0.3, 1.0)),
                transforms.ToTensor(),
                transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            ]
        ),
    )


def contenders(root: Path, workers: int, batches: int) -> dict[str, Callable[[], float]]:
    """Each call gives images a second."""
    theirs = torchvision_set(root)
    where = Place(
        root=root, split=None, extensions=ImageModality.extensions, cache=root.parent / "cache"
    )
    source = Folder(Folder.Config(), place=where)
    modality = ImageModality(ImageModality.Config())
    normalise = modality.device_transform()

    def rate(one: Callable[[int], object]) -> float:
        started = time.perf_counter()
        for i in range(len(source)):
            one(i)
        return len(source) / (time.perf_counter() - started)

    def ours(i: int) -> torch.Tensor:
        return modality.train_input(source.item(i).content, SampleRng(0, 0, i))

    def steady(iterator: Iterator[object]) -> float:
        for _ in range(2 * workers):
            next(iterator)
        started = time.perf_counter()
        count = sum(1 for _ in iterator)
        return count * BATCH / (time.perf_counter() - started)

    def theirs_loaded() -> float:
        samples = (batches + 2 * workers) * BATCH
        sampler = RandomSampler(theirs, replacement=True, num_samples=samples)
        loader = DataLoader(theirs, BATCH, sampler=sampler, num_workers=workers, prefetch_factor=2)
        return steady(iter(loader))

    def ours_loaded() -> float:
        return steady(
            load(
                source, modality, seed=0, global_batch=BATCH, start=0, count=BATCH, first_step=0,
                last_step=batches + 2 * workers, workers=workers, prefetch=2, pin_memory=False,
            )
        )  # fmt: skip

    return {
        "torchvision, one process": lambda: rate(lambda i: theirs[i]),
        "ours, one process": lambda: rate(ours),
        "ours and normalised, one process": lambda: rate(lambda i: normalise(ours(i)[None])),
        f"torchvision, {workers} workers": theirs_loaded,
        f"ours, {workers} workers": ours_loaded,
    }


# --- the run ------------------------------------------------------------------------------------


def compare(rounds: dict[str, list[float]]) -> list[dict[str, Any]]:
    """A row a contender; ratios are those of single rounds."""
    rows = []
    for name, rates in rounds.items():
        base = rounds["torchvision" + name[name.index(",") :]]
        ratios = [rate / other for rate, other in zip(rates, base, strict=True)]
        rows.append(
            {
                "contender": name,
                "images_per_second": round(statistics.median(rates), 1),
                "ratio": round(statistics.median(ratios), 2),
                "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
                "rounds": [round(rate, 1) for rate in rates],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="JSON; a table goes beside it as .md")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--quality", type=int, default=96)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=12, help="of 32, in a round with workers")
    settings = parser.parse_args()
    torch.set_num_threads(1)
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "pictures"
        pictures = make_pictures(root / "all", settings.images, settings.quality)
        print(pictures)
        calls = contenders(root, settings.workers, settings.batches)
        rounds: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(settings.rounds + 1):
            for name, call in calls.items():
                rate = call()
                if number:  # the first round warms up
                    rounds[name].append(rate)
            print(f"round {number} of {settings.rounds}", file=sys.stderr)
    compared = compare(rounds)
    results = {
        "pictures": pictures,
        "load_average_before": round(load_average, 2),
        "torchvision": torchvision.__version__,
        "pillow": PIL.__version__,
        "rates": compared,
    }
    rows = [
        [r["contender"], r["images_per_second"], r["ratio"], "-".join(map(str, r["ratio_range"]))]
        for r in compared
    ]
    head = ["contender", "images/s", "to torchvision", "over the rounds"]
    title = (
        f"Loader: random resized crops of {SIZE} from {pictures['number']} JPEGs of "
        f"{pictures['pixels']} (mean {pictures['mean_kilobytes']} kB), medians of "
        f"{settings.rounds} interleaved rounds, one core a process; the machine was shared "
        f"(load average {load_average:.1f} before)"
    )
    report(
        title,
        head,
        rows,
        results,
        settings.output,
    )


if __name__ == "__main__":
    main()
