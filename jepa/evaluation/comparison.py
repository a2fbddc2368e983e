"""A trained encoder beside the same network untrained and the plain content of the samples.

A score means little alone: a random network is a fair set of features, and so are raw samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from jepa.core.errors import DataError, PluginError
from jepa.core.probing import Predictions, Protocol, Samples, means_of_wholes
from jepa.evaluation.intervals import Interval, bootstrap, paired_bootstrap, wilson
from jepa.evaluation.samples import Blind

ACCURACY = "accuracy"
_ERROR = "mean absolute error"


@attrs.frozen(kw_only=True)
class Candidate:
    """Samples to score: one set, or several that are averaged (random inits of several seeds).

    Args:
        name: for tables.
        train: samples that protocols fit to, once for each set of features.
        test: samples that they are scored on, in the same order of sets.
    """

    name: str
    train: tuple[Samples, ...]
    test: tuple[Samples, ...]


@attrs.frozen(kw_only=True)
class Row:
    """One protocol on one candidate.

    Args:
        protocol: its name.
        features: the candidate's name.
        sets: sets of features averaged over.
        metric: `accuracy`, or `mean absolute error of QUANTITY`, in the quantity's unit.
        score: with its 95% interval over test samples: Wilson's, or by bootstrap for errors.
        repetitions: fits of the protocol averaged over, such as draws of few labels.
        spread: standard deviation of the score over the repetitions; None for one.
        trained_minus_this: paired difference to the first candidate with its 95% bootstrap
            interval; None for the first itself.
        details: of the fit, a mapping for each set of features.
    """

    protocol: str
    features: str
    sets: int
    metric: str
    score: Interval
    repetitions: int
    spread: float | None
    trained_minus_this: Interval | None
    details: tuple[Mapping[str, float | str], ...]


@attrs.frozen(kw_only=True)
class Comparison:
    """All protocols on all candidates, on the same samples.

    Args:
        train_samples: that probes were fitted on; the parts of a whole are one.
        train_parts: of these samples, which are fitted on one by one.
        test_samples: that were scored; the parts of a whole are one.
        test_parts: of these samples, which probes were asked about one by one.
        classes: of the labels.
        rows: a block a protocol.
    """

    train_samples: int
    train_parts: int
    test_samples: int
    test_parts: int
    classes: int
    rows: tuple[Row, ...]


def compare(
    candidates: Sequence[Candidate], protocols: Mapping[str, Protocol], seed: int = 0
) -> Comparison:
    """Score every candidate by every protocol; differences are to the first candidate.

    Protocols never see what they are asked to predict: test samples reach them blind.

    Args:
        candidates: on the same samples in the same order.
        protocols: by name.
        seed: of what protocols and intervals draw.
    """
    rows: list[Row] = []
    for name, protocol in protocols.items():
        first: Tensor | None = None
        for candidate in candidates:
            found = [
                _judged(name, protocol.predict(train, Blind(test), seed), test)
                for train, test in zip(candidate.train, candidate.test, strict=True)
            ]
            scores = torch.stack([each.scores for each in found]).mean((0, 1))  # [w]
            first, reference = (scores, None) if first is None else (first, first)
            rows.append(_row(name, candidate.name, found, scores, reference, seed))
    known, asked = candidates[0].train[0], candidates[0].test[0]
    return Comparison(
        train_samples=len(set(known.wholes.tolist())),
        train_parts=len(known),
        test_samples=len(set(asked.wholes.tolist())),
        test_parts=len(asked),
        classes=len(known.classes),
        rows=tuple(rows),
    )


@attrs.frozen
class _Judged:
    """`scores` [R, w] float64 of R repetitions and w wholes, in the unit of `metric`."""

    scores: Tensor
    metric: str
    details: Mapping[str, float | str]


def _judged(protocol: str, said: Predictions, test: Samples) -> _Judged:
    shape = tuple(said.values.shape)
    if len(shape) != 2 or shape[1] != len(test):
        raise PluginError(
            f"the protocol '{protocol}' gave predictions of shape {list(shape)}, allowed: "
            f"[repetitions, {len(test)}]"
        )
    if said.quantity is None:
        # All parts of a whole are given one class, unless a protocol does not use `decide`.
        right = (said.values == test.labels).double()
        return _Judged(_of_wholes(right, test), ACCURACY, said.details)
    truth = test.quantity(said.quantity)
    if not truth.isfinite().all():
        raise DataError(f"the quantity '{said.quantity}' of some test samples is not finite")
    (truth,) = _of_wholes(truth[None], test)
    error = (_of_wholes(said.values.double(), test) - truth).abs()
    details = dict(said.details)
    variance = truth.var(correction=0)
    if variance > 0:
        details["r2"] = (1 - error.square().mean() / variance).item()
    return _Judged(error, f"{_ERROR} of {said.quantity}", details)


def _of_wholes(values: Tensor, test: Samples) -> Tensor:
    """The mean over the parts of each whole: [R, m] -> [R, w]."""
    means, _ = means_of_wholes(values.T, test.wholes)
    return means.T


def _row(
    protocol: str,
    features: str,
    found: Sequence[_Judged],
    scores: Tensor,
    reference: Tensor | None,
    seed: int,
) -> Row:
    """One row; `scores` and those of the `reference` are [w]."""
    metric = found[0].metric
    value = scores.mean().item()
    by_repetition = torch.stack([each.scores.mean(1) for each in found]).mean(0)  # [R]
    repeated = len(by_repetition) > 1
    return Row(
        protocol=protocol,
        features=features,
        sets=len(found),
        metric=metric,
        score=wilson(value, len(scores)) if metric == ACCURACY else bootstrap(scores, seed),
        repetitions=len(by_repetition),
        spread=by_repetition.std().item() if repeated else None,
        trained_minus_this=None if reference is None else paired_bootstrap(reference, scores, seed),
        details=tuple(each.details for each in found),
    )
