"""Mixtures of samples and of their labels, and the seed of what torch draws in a step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from einops import pack, rearrange, unpack
from torch import Tensor

from jepa.core.errors import ConfigError, Fault
from jepa.core.rng import device_seed

Mix = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Inputs [B, *S] and labels [B] int64 -> inputs [B, *S] and shares of classes [B, C]."""


def mixing(mixup: float, cutmix: float, classes: int) -> Mix | None:
    """torchvision's mixtures of each sample with the one before it in the batch.

    Args:
        mixup: weighted means (arXiv 1710.09412), the weight from Beta(mixup, mixup); 0: none.
        cutmix: a rectangle of the other sample (arXiv 1905.04899), its share of the area from
            Beta(cutmix, cutmix); 0: none. With both, each batch gets one of them, by even odds.
        classes: C.

    Returns:
        A function that draws from torch's generators (see `drawing`); None: nothing is mixed.
    """
    from torchvision.transforms import v2

    options: list[Mix] = []
    if mixup > 0:
        options.append(_of_any_shape(v2.MixUp(alpha=mixup, num_classes=classes)))
    if cutmix > 0:
        options.append(_of_two_axes(v2.CutMix(alpha=cutmix, num_classes=classes)))
    if not options:
        return None
    return options[0] if len(options) == 1 else v2.RandomChoice(options)


def _of_any_shape(mixup: Mix) -> Mix:
    """torchvision takes two axes alone, but a weighted mean does not care."""

    def mix(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        flat, shape = pack([inputs], "b *")
        mixed, shares = mixup(rearrange(flat, "b p -> b 1 1 p"), labels)
        (mixed,) = unpack(rearrange(mixed, "b 1 1 p -> b p"), shape, "b *")
        return mixed, shares

    return mix


def _of_two_axes(cutmix: Mix) -> Mix:
    def mix(inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if inputs.ndim != 4:
            raise ConfigError(
                Fault(
                    "cutmix",
                    f"found inputs of shape {tuple(inputs.shape[1:])}, allowed: two axes after the "
                    "channels, which rectangles are cut from; set cutmix=0, mixup works on any",
                )
            )
        return cutmix(inputs, labels)

    return mix


@contextlib.contextmanager
def drawing(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Inside, what torch draws (mixtures, drop path) is a function of (seed, step).

    Torch's generators are left as they were.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(device_seed(seed, step, 0, 0))
        yield
