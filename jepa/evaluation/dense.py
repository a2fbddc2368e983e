"""Linear heads on features that know where: for classes, and for quantities such as a count."""

from __future__ import annotations

from typing import final

import attrs
import torch
from torch import Tensor

from jepa.core.errors import DataError
from jepa.core.probing import Predictions, Protocol, Samples
from jepa.core.settings import check, positive, positive_all
from jepa.evaluation.cells import pool
from jepa.evaluation.logistic import Logistic, LogisticConfig, hold_out, standardisation
from jepa.evaluation.ridge import Line, ridge

LABELS = "labels"
_PENALTIES = tuple(10.0**power for power in range(4, -6, -1))


@attrs.frozen(kw_only=True)
class DenseConfig:
    """What is predicted, and from what."""

    predict: str | None = None
    """A quantity that the source measures; null or `labels`: the classes."""
    cells: int = attrs.field(default=4, validator=positive)
    """Cells along each axis of the grid; 1: the mean over all tokens."""
    l2: tuple[float, ...] | None = attrs.field(default=None, validator=positive_all)
    """Weights of the penalty to choose from: mean squared error + l2 |w|^2, or for classes mean
    cross-entropy + l2/2 |w|^2; null: from 1e4 to 1e-5 in steps of ten, or those of `logistic`."""
    held_out: int = attrs.field(default=5, validator=check("2 or more", lambda v: v >= 2))
    """One in this many training samples is held out to choose the penalty on."""


@final
class Dense(Protocol):
    """A linear head on tokens that are averaged over a coarse grid of cells.

    The mean over all tokens forgets where things are; cells keep it, at `cells` places an axis.
    Features are standardised by their training mean and deviation. Classes are told by logistic
    regression as in `logistic`; quantities by ridge regression, in closed form. The penalty is
    chosen on held-out training samples, by the loss that is minimised, and the fit repeated on all.
    """

    Config = DenseConfig

    def __init__(self, config: DenseConfig) -> None:
        self.config = config

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes or values of a quantity [1, m] (see `Protocol.predict`).

        Raises:
            DataError: the source measures no such quantity, or not for every sample.
        """
        name = self.config.predict
        if name is None or name == LABELS:
            return self._classes(train, test, seed)
        values = train.quantity(name)
        unknown = int((~values.isfinite()).sum())
        if unknown:
            raise DataError(f"the quantity '{name}' is not finite in {unknown} training samples")
        known = pool(train.tokens(), train.grid, self.config.cells)
        mean, scale = standardisation(known)
        known = known.sub_(mean).div_(scale)
        l2 = self._choose(known, values, train.groups, seed)
        (line,) = ridge(known, values, [l2])
        asked = pool(test.tokens(), test.grid, self.config.cells)
        found = line.values(asked.sub_(mean).div_(scale))
        return Predictions(values=found[None], quantity=name, details={"l2": l2})

    def _classes(self, train: Samples, test: Samples, seed: int) -> Predictions:
        config = self.config
        penalties = config.l2 or LogisticConfig().l2
        head = Logistic(LogisticConfig(l2=penalties, held_out=config.held_out))
        known, asked = (pool(part.tokens(), part.grid, config.cells) for part in (train, test))
        found, l2 = head.probabilities(known, train.labels, asked, train.groups, seed)
        return Predictions(values=test.decide(found)[None], details={"l2": l2})

    def _choose(self, features: Tensor, values: Tensor, groups: Tensor, seed: int) -> float:
        """The penalty with the lowest mean squared error on held-out samples."""
        alike = torch.zeros(len(values), dtype=torch.int64)
        held = hold_out(alike, self.config.held_out, seed, groups)
        penalties = self.config.l2 or _PENALTIES
        if len(penalties) == 1 or not held.any():
            return penalties[0]

        def error(line: Line) -> float:
            return (line.values(features[held]) - values[held]).square().mean().item()

        errors = [error(line) for line in ridge(features[~held], values[~held], penalties)]
        return penalties[errors.index(min(errors))]
