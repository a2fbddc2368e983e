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
        found, l2 = self.probabilities(known, train.labels, asked, train.groups, seed)
        return Predictions(values=test.decide(found)[None], details={"l2": l2})

    def probabilities(
        self, known: Tensor, labels: Tensor, asked: Tensor, groups: Tensor, seed: int
    ) -> tuple[Tensor, float]:
        """Of C classes for features [m, P]: [m, C], and the penalty that was chosen.

        Args:
            known: features [n, P] to fit to.
            labels: of them, [n] int64.
            asked: features [m, P].
            groups: of the known ones, which are held out together: [n] int64.
            seed: of which groups are held out.
        """
        mean, scale = standardisation(known)
        known = (known - mean) / scale
        l2, start = self._choose(known, labels, groups, seed)
        head = fit(known, labels, start, l2, self.config.max_iterations)
        return head.scores((asked - mean) / scale).softmax(1), l2

    def _choose(
        self, features: Tensor, labels: Tensor, groups: Tensor, seed: int
    ) -> tuple[float, Head]:
        """The penalty whose fit has the lowest cross-entropy on held-out samples, and that fit.

        Cross-entropy, since accuracy on few held-out samples is mostly noise. The penalties are
        tried from the strongest, each fit begins where the last one ended, and the search ends
        when the cross-entropy rises: from there on fits only grow slower and worse.
        """
        penalties = sorted(self.config.l2, reverse=True)
        head = zeros(features, int(labels.max()) + 1)
        held = hold_out(labels, self.config.held_out, seed, groups)
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


def hold_out(labels: Tensor, one_in: int, seed: int, groups: Tensor | None = None) -> Tensor:
    """Mark one in `one_in` samples, of each class alike: [n] bool.

    Of groups one in `one_in` is marked with all its samples, and of fewer the last. A group counts
    for the class of its first sample. Where groups are so few that a class would be marked as a
    whole, or nothing, samples are marked one by one.

    Args:
        labels: [n] int64.
        one_in: 2 or more.
        seed: of the draw.
        groups: [n] int64, equal for samples that are marked together; None: each by itself.
    """
    known = labels.cpu().numpy()
    if groups is not None:
        held = _hold_out_groups(known, groups.cpu().numpy(), one_in, seed)
        if held is not None:
            return torch.from_numpy(held).to(labels.device)
    by_class = np.lexsort((_draw(len(known), seed), known))
    marked = torch.zeros_like(labels, dtype=torch.bool)
    marked[torch.from_numpy(by_class[one_in - 1 :: one_in])] = True
    return marked


def _hold_out_groups(
    labels: np.ndarray, groups: np.ndarray, one_in: int, seed: int
) -> np.ndarray | None:
    """As `hold_out`, by groups alone; None where that cannot be."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    if len(first) == len(labels):
        return None
    drawn = _draw(len(first), seed)
    marked = np.zeros(len(first), dtype=bool)
    for label in np.unique(labels[first]):
        own = np.flatnonzero(labels[first] == label)
        if len(own) > 1:
            marked[own[np.argsort(drawn[own])][min(one_in, len(own)) - 1 :: one_in]] = True
    held: np.ndarray = marked[group]
    unseen = np.setdiff1d(labels[held], labels[~held])
    return held if held.any() and not len(unseen) else None


def _draw(n: int, seed: int) -> np.ndarray:
    return SampleRng(seed, 0, 0, Stream.EVALUATION).uniforms(n)
