"""Many linear classifiers at once: one pass over the features tries a whole grid of settings.

Letters: H heads, C classes, P features, n samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange, reduce
from torch import Tensor

from jepa.core.rng import SampleRng, Stream

_TRUST = 1e-3  # LARS's coefficient
_MOMENTUM = 0.9
_BETAS, _EPS = (0.9, 0.999), 1e-8
_START = 0.01  # deviation of the initial weights


class Try(NamedTuple):
    """What one head is trained with."""

    lr: float
    weight_decay: float


class Heads(NamedTuple):
    """Linear classifiers: `weight` [H, C, P], `bias` [H, C]."""

    weight: Tensor
    bias: Tensor

    def logits(self, features: Tensor) -> Tensor:
        """Of every head: [b, P] -> [H, b, C]."""
        return torch.einsum("bp,hcp->hbc", features, self.weight) + self.bias[:, None]


@attrs.frozen(kw_only=True)
class Course:
    """How heads are trained.

    Args:
        optimizer: LARS (arXiv 1708.03888) with momentum 0.9 and trust coefficient 0.001, or AdamW.
            Biases are neither decayed nor, in LARS, scaled.
        batch: samples of a step.
        epochs: passes over the samples. The learning rate falls to 0 along a cosine.
    """

    optimizer: Literal["lars", "adamw"]
    batch: int
    epochs: int


def train_heads(
    features: Tensor, labels: Tensor, classes: int, tries: Sequence[Try], course: Course, seed: int
) -> Heads:
    """Minimise each head's mean cross-entropy on its own; all see the same batches.

    Args:
        features: [n, P], best standardised.
        labels: [n] int64 in [0, classes).
        classes: C.
        tries: of the H heads.
        course: how long and by what.
        seed: of the initial weights, equal for all heads, and of the order.
    """
    weight = _initial(classes, features.shape[1], seed).to(features)
    heads = Heads(
        weight.expand(len(tries), -1, -1).clone(), features.new_zeros(len(tries), classes)
    )
    lr = features.new_tensor([each.lr for each in tries])
    decay = features.new_tensor([each.weight_decay for each in tries])
    update = _Lars(heads) if course.optimizer == "lars" else _AdamW(heads)
    n = len(features)
    size = min(course.batch, n)
    total = course.epochs * (n // size)
    step = 0
    for epoch in range(course.epochs):
        order = torch.from_numpy(_shuffled(n, seed, epoch)).to(features.device)
        for rows in rearrange(order[: n // size * size], "(s b) -> s b", b=size):
            cosine = 0.5 * (1 + math.cos(math.pi * step / total))
            gradients = _gradients(heads, features[rows], labels[rows])
            update.apply(heads, gradients, lr * cosine, decay)
            step += 1
    return heads


def _gradients(heads: Heads, features: Tensor, labels: Tensor) -> Heads:
    """Of the mean cross-entropy, written out: softmax less the truth."""
    wrong = heads.logits(features).softmax(-1)  # [H, b, C]
    wrong -= F.one_hot(labels, heads.bias.shape[1])
    wrong /= len(features)
    return Heads(torch.einsum("hbc,bp->hcp", wrong, features), reduce(wrong, "h b c -> h c", "sum"))


def _initial(classes: int, width: int, seed: int) -> Tensor:
    """Normal weights [C, P], a function of the seed."""
    drawn = SampleRng(seed, 0, 1, Stream.EVALUATION).uniforms(classes * width)
    normal: Tensor = torch.special.ndtri(torch.from_numpy(drawn).clamp(1e-12, 1 - 1e-12))
    return rearrange(_START * normal, "(c p) -> c p", c=classes)


def _shuffled(n: int, seed: int, epoch: int) -> np.ndarray:
    return np.argsort(SampleRng(seed, epoch, 2, Stream.EVALUATION).uniforms(n))


class _Lars:
    """v = 0.9 v + rate (g + decay w); w -= v. A weight's rate is lr trust |w| / |g + decay w|."""

    def __init__(self, heads: Heads) -> None:
        self._momentum = Heads(*(torch.zeros_like(part) for part in heads))

    def apply(self, heads: Heads, gradients: Heads, lr: Tensor, decay: Tensor) -> None:
        """Move every head by its own rate: lr [H], decay [H]."""
        step = gradients.weight + decay[:, None, None] * heads.weight
        sizes = [part.flatten(1).norm(dim=1) for part in (heads.weight, step)]
        scale = torch.where(sizes[1] > 0, _TRUST * sizes[0] / sizes[1], 1.0)
        self._momentum.weight.mul_(_MOMENTUM).add_((lr * scale)[:, None, None] * step)
        self._momentum.bias.mul_(_MOMENTUM).add_(lr[:, None] * gradients.bias)
        for part, moved in zip(heads, self._momentum, strict=True):
            part -= moved


class _AdamW:
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    def __init__(self, heads: Heads) -> None:
        self._first, self._second = (
            Heads(*(torch.zeros_like(part) for part in heads)) for _ in range(2)
        )
        self._steps = 0

    def apply(self, heads: Heads, gradients: Heads, lr: Tensor, decay: Tensor) -> None:
        """Move every head by its own rate: lr [H], decay [H]."""
        self._steps += 1
        one, two = (1 - beta**self._steps for beta in _BETAS)
        heads.weight.mul_(1 - (lr * decay)[:, None, None])
        for part, gradient, first, second in zip(
            heads, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1 - _BETAS[0])
            second.lerp_(gradient.square(), 1 - _BETAS[1])
            rate = lr.reshape(-1, *[1] * (part.ndim - 1))
            part -= rate * (first / one) / ((second / two).sqrt() + _EPS)
