"""Multinomial logistic regression on frozen features."""

from __future__ import annotations

from typing import NamedTuple, final

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.probing import Pool, Predictions, Protocol, Samples
from jepa.core.rng import SampleRng, Stream
from jepa.core.settings import check, positive


@attrs.frozen(kw_only=True)
class LogisticConfig:
    """Settings of the fit."""

    l2: tuple[float, ...] = attrs.field(
        default=(1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5),
        validator=check("one or more numbers, 0 or more", lambda v: len(v) > 0 and min(v) >= 0),
    )
    """Weights of the penalty to choose from: mean cross-entropy + l2/2 |W|^2."""
    held_out: int = attrs.field(default=5, validator=check("2 or more", lambda v: v >= 2))
    """One in this many training samples is held out to choose the penalty on."""
    max_iterations: int = attrs.field(default=100, validator=positive)
    """Iterations of L-BFGS for one fit, at most."""
    layers: int = attrs.field(default=1, validator=positive)
    """Last layers that are concatenated."""
    pool: Pool = "mean"
    """How the tokens of a layer become one vector (see `Samples.pooled`)."""


class Head(NamedTuple):
    """A linear classifier: `weight` [C, D], `bias` [C]."""

    weight: Tensor
    bias: Tensor

    def scores(self, features: Tensor) -> Tensor:
        """Logits [n, C] of features [n, D]."""
        return F.linear(features, self.weight, self.bias)


@final
class Logistic(Protocol):
    """A linear classifier on features standardised by their training mean and deviation.

    The penalty is chosen on a held-out part of the training samples, then the fit is repeated on
    all of them. Full batch, so the only draw is which samples are held out.
    """

    Config = LogisticConfig

    def __init__(self, config: LogisticConfig) -> None:
        self.config = config

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes [1, m] (see `Protocol.predict`)."""
        config = self.config
        known, asked = (part.pooled(config.layers, config.pool) for part in (train, test))
        classes, l2 = self.classify(known, train.labels, asked, seed)
        return Predictions(values=classes[None], details={"l2": l2})

    def classify(
        self, known: Tensor, labels: Tensor, asked: Tensor, seed: int
    ) -> tuple[Tensor, float]:
        """Classes [m] int64 of features [m, P], and the penalty that was chosen.

        Args:
            known: features [n, P] to fit to.
            labels: of them, [n] int64.
            asked: features [m, P].
            seed: of which samples are held out.
        """
        mean, scale = standardisation(known)
        known = (known - mean) / scale
        l2, start = self._choose(known, labels, seed)
        head = fit(known, labels, start, l2, self.config.max_iterations)
        return head.scores((asked - mean) / scale).argmax(1), l2

    def _choose(self, features: Tensor, labels: Tensor, seed: int) -> tuple[float, Head]:
        """The penalty whose fit has the lowest cross-entropy on held-out samples, and that fit.

        Cross-entropy, since accuracy on few held-out samples is mostly noise. The penalties are
        tried from the strongest, each fit begins where the last one ended, and the search ends
        when the cross-entropy rises: from there on fits only grow slower and worse.
        """
        penalties = sorted(self.config.l2, reverse=True)
        head = zeros(features, int(labels.max()) + 1)
        held = hold_out(labels, self.config.held_out, seed)
        if len(penalties) == 1 or not held.any() or held.all():
            return penalties[0], head
        chosen, lowest = (penalties[0], head), float("inf")
        for l2 in penalties:
            head = fit(features[~held], labels[~held], head, l2, self.config.max_iterations)
            loss = F.cross_entropy(head.scores(features[held]), labels[held]).item()
            if loss > lowest:
                break
            chosen, lowest = (l2, head), loss
        return chosen


def zeros(features: Tensor, classes: int) -> Head:
    """The head where fits begin, for features [n, D] and C classes."""
    return Head(features.new_zeros(classes, features.shape[1]), features.new_zeros(classes))


def fit(features: Tensor, labels: Tensor, start: Head, l2: float, max_iterations: int) -> Head:
    """Minimise mean cross-entropy + l2/2 |W|^2 by L-BFGS; the bias is not penalised.

    Args:
        features: [n, D], best standardised.
        labels: [n] int64 in [0, C).
        start: where to begin. The problem is convex, so this changes the time alone.
        l2: weight of the penalty.
        max_iterations: of L-BFGS.
    """
    head = Head(*(part.clone().requires_grad_() for part in start))
    optimizer = torch.optim.LBFGS(
        list(head),
        max_iter=max_iterations,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(head.scores(features), labels)
        loss = loss + l2 / 2 * head.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    return Head(*(part.detach() for part in head))


def standardisation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [D] and deviation [D] of features [n, D]; a column that never varies is not scaled."""
    mean = features.mean(0)
    deviation = (features - mean).square().mean(0).sqrt()
    constant = deviation <= 1e-6 * features.abs().amax(0)
    return mean, torch.where(constant, torch.ones_like(deviation), deviation)


def hold_out(labels: Tensor, one_in: int, seed: int) -> Tensor:
    """Mark one in `one_in` samples, of each class alike: labels [n] -> [n] bool."""
    drawn = SampleRng(seed, 0, 0, Stream.EVALUATION).uniforms(len(labels))
    by_class = np.lexsort((drawn, labels.cpu().numpy()))
    held = torch.zeros_like(labels, dtype=torch.bool)
    held[torch.from_numpy(by_class[one_in - 1 :: one_in])] = True
    return held
