"""Checks of protocols, on samples whose two classes a linear classifier tells apart."""

from __future__ import annotations

import pickle

import torch

from jepa.core.probing import Predictions, Protocol
from jepa.testing.generators import untouched
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.samples import QUANTITY, ToySamples, toy_samples
from jepa.testing.toys import CLASSES

_PREDICT = "jepa.core.Protocol.predict"
_TRAIN, _TEST = 80, 60
_BETTER_THAN = 0.65
"""Share of right classes; by chance it is 0.5, with a standard error of 0.065."""


def _made(subject: Subject) -> Protocol:
    made: Protocol = subject.cls(subject.config)
    return made


def _predicted(protocol: Protocol, asked: list[str] | None = None, seed: int = 0) -> Predictions:
    test = toy_samples(_TEST, 2, [] if asked is None else asked)
    return protocol.predict(toy_samples(_TRAIN, 1), test, seed)


@promise(_PREDICT, basic=True)
def predictions(subject: Subject) -> None:
    """Predictions [R, m] for m test samples: classes int64, or values float64 of a quantity."""
    found = _predicted(_made(subject))
    expect(isinstance(found, Predictions), f"a {type(found).__name__}")
    values = found.values
    shape = list(values.shape)
    expect(len(shape) == 2 and shape[1] == _TEST and shape[0] > 0, f"{shape} for [R, {_TEST}]")
    if found.quantity is not None:
        expect(values.dtype == torch.float64, f"values of {values.dtype}")
        expect(found.quantity == QUANTITY, f"the quantity '{found.quantity}'")
        return
    expect(values.dtype == torch.int64, f"classes of {values.dtype}")
    low, high = int(values.min()), int(values.max())
    expect(0 <= low <= high < len(CLASSES), f"classes {low} to {high} of {len(CLASSES)}")


@promise(_PREDICT)
def blind(subject: Subject) -> None:
    """What has to be predicted is not asked for."""
    asked: list[str] = []
    _predicted(_made(subject), asked)
    expect(not asked, f"it asked for the {' and '.join(sorted(set(asked)))} of test samples")


@promise(_PREDICT)
def learns(subject: Subject) -> None:
    """It learns from the training samples: better than chance on classes that are easy to tell."""
    found = _predicted(_made(subject))
    truth = toy_samples(_TEST, 2)
    if found.quantity is None:
        share = float((found.values == truth.labels).double().mean())
        expect(share > _BETTER_THAN, f"{share:.2f} are right, {1 / len(CLASSES):.2f} by chance")
        return
    values = truth.quantity(QUANTITY)
    error = float((found.values - values).square().mean() / values.var(correction=0))
    expect(error < 1, f"a mean squared error of {error:.2f} times the variance")


@promise(_PREDICT)
def repeats(subject: Subject) -> None:
    """The same samples and seed give the same predictions, whatever was predicted before."""
    protocol = _made(subject)
    first, again = _predicted(protocol, seed=3).values, _predicted(protocol, seed=3).values
    expect(torch.equal(first, again), "two calls differ")


@promise(_PREDICT)
def samples_stay(subject: Subject) -> None:
    """Samples are not changed."""
    train, test = toy_samples(_TRAIN, 1), toy_samples(_TEST, 2, [])
    _made(subject).predict(train, test, 0)
    for name, used, fresh in (
        ("training", train, toy_samples(_TRAIN, 1)),
        ("test", test, toy_samples(_TEST, 2)),
    ):
        expect(_same(used, fresh), f"{name} samples changed")


def _same(one: ToySamples, other: ToySamples) -> bool:
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.hidden, other.hidden)


@promise(_PREDICT)
def pickles(subject: Subject) -> None:
    """A protocol pickles, and predicts the same after."""
    protocol = _made(subject)
    copied = pickle.loads(pickle.dumps(protocol))
    same = torch.equal(_predicted(copied).values, _predicted(protocol).values)
    expect(same, "the copy predicts otherwise")


@promise(_PREDICT)
def generators(subject: Subject) -> None:
    """All that is drawn comes from the seed; global generators are left as they were."""
    untouched(lambda: _predicted(_made(subject)))


PROMISES: tuple[Promise, ...] = (
    predictions,
    blind,
    learns,
    repeats,
    samples_stay,
    pickles,
    generators,
)
