"""The paper's linear probe: a grid of heads on frozen features, trained by gradient descent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

import attrs
import torch.nn.functional as F
from torch import Tensor

from jepa.core.probing import Pool, Predictions, Protocol, Samples
from jepa.core.settings import check, positive
from jepa.evaluation.heads import Course, Heads, Try, train_heads
from jepa.evaluation.logistic import hold_out, standardisation

_HELD_OUT = 5
_STEPS = 78  # of an epoch of ImageNet at batch 16384
_GREATEST_BATCH, _LEAST_BATCH = 16384, 32
_SCALE = _GREATEST_BATCH / 256
# The paper's grid at its batch, by the rule that a rate is meant for 256 samples.
_GRIDS = {
    "lars": (0.01 * _SCALE, 0.05 * _SCALE, 0.001 * _SCALE),
    "adamw": (1e-2, 3e-3, 1e-3),
}

_rates = check("one or more numbers above 0", lambda v: v is None or (v and min(v) > 0))


@attrs.frozen(kw_only=True)
class LinearConfig:
    """The grid that is searched, and how heads are trained."""

    layers: tuple[int, ...] = attrs.field(
        default=(1, 4), validator=check("one or more, 1 or more each", lambda v: v and min(v) >= 1)
    )
    """Numbers of last layers to try, which are concatenated. An encoder with fewer layers than
    asked gives all it has."""
    pool: Pool = "mean"
    """How the tokens of a layer become one vector (see `Samples.pooled`)."""
    optimizer: Literal["lars", "adamw"] = "lars"
    lrs: tuple[float, ...] | None = attrs.field(default=None, validator=_rates)
    """Learning rates to try; None: for lars the paper's .01, .05 and .001 a 256 samples at batch
    16384 (0.64, 3.2, 0.064), for adamw 1e-2, 3e-3 and 1e-3."""
    weight_decays: tuple[float, ...] = attrs.field(
        default=(5e-4, 0.0), validator=check("one or more, 0 or more", lambda v: v and min(v) >= 0)
    )
    epochs: int = attrs.field(default=50, validator=positive)
    batch: int | None = attrs.field(default=None, validator=positive)
    """Samples of a step; None: 16384, or fewer (32 at least) where that leaves fewer than the 78
    steps an epoch that the paper has on ImageNet. Below 2,496 samples there are more epochs, so
    that the steps are as many in all."""


@final
class Linear(Protocol):
    """I-JEPA's linear probe (arXiv 2301.08243, appendix A.1) on samples of any number.

    Features are standardised by their training mean and deviation. A grid of heads (layers,
    learning rates, weight decays) is trained on four fifths of the training samples; the head with
    the lowest cross-entropy on the rest is trained again on all of them. The paper chooses on its
    validation set, which here would be the test samples.
    """

    Config = LinearConfig

    def __init__(self, config: LinearConfig) -> None:
        self.config = config

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes [1, m] (see `Protocol.predict`)."""
        labels, classes = train.labels, len(train.classes)
        layers, settings = self._choose(train, labels, classes, seed)
        known, asked = (part.pooled(layers, self.config.pool) for part in (train, test))
        mean, scale = standardisation(known)
        heads = self._fit((known - mean) / scale, labels, classes, [settings], seed)
        (found,) = heads.logits((asked - mean) / scale).softmax(-1)  # [m, C]
        details = {"layers": layers, "lr": settings.lr, "weight_decay": settings.weight_decay}
        return Predictions(values=test.decide(found)[None], details=details)

    def _choose(self, train: Samples, labels: Tensor, classes: int, seed: int) -> tuple[int, Try]:
        """The layers and settings whose head has the lowest held-out cross-entropy."""
        tries = [Try(lr, wd) for lr in self._lrs() for wd in self.config.weight_decays]
        options = self._layers(train)
        held = hold_out(labels, _HELD_OUT, seed, train.groups)
        if len(tries) * len(options) == 1 or not held.any() or held.all():
            return options[0], tries[0]
        found: list[tuple[float, int, Try]] = []
        for layers in options:
            features = train.pooled(layers, self.config.pool)
            mean, scale = standardisation(features[~held])
            features = (features - mean) / scale
            heads = self._fit(features[~held], labels[~held], classes, tries, seed)
            for logits, settings in zip(heads.logits(features[held]), tries, strict=True):
                loss = F.cross_entropy(logits, labels[held]).item()
                found.append((loss if math.isfinite(loss) else math.inf, layers, settings))
        _, layers, settings = min(found)
        return layers, settings

    def _layers(self, train: Samples) -> list[int]:
        """The options that differ: raw content has no layers, a shallow encoder few."""
        widths: dict[int, int] = {}
        for layers in sorted(self.config.layers):
            widths.setdefault(train.pooled(layers, self.config.pool).shape[1], layers)
        return list(widths.values())

    def _fit(
        self, features: Tensor, labels: Tensor, classes: int, tries: Sequence[Try], seed: int
    ) -> Heads:
        config, n = self.config, len(labels)
        batch = config.batch or max(_LEAST_BATCH, min(_GREATEST_BATCH, n // _STEPS))
        epochs = config.epochs
        if config.batch is None:
            # Few samples have fewer steps an epoch even so, and as many are needed in all.
            epochs = max(epochs, epochs * _STEPS // (n // min(batch, n)))
        course = Course(optimizer=config.optimizer, batch=batch, epochs=epochs)
        return train_heads(features, labels, classes, tries, course, seed)

    def _lrs(self) -> tuple[float, ...]:
        return self.config.lrs or _GRIDS[self.config.optimizer]
