"""What runs cost: operations, counted, and seconds, measured."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from jepa.ablation.outcome import Outcome
from jepa.ablation.strangers import strangers
from jepa.core.config import RunConfig
from jepa.core.errors import DataError, JepaError
from jepa.core.health.trace import METRICS_FILE
from jepa.core.settings import unstructure
from jepa.core.training import cost
from jepa.evaluation.curves import read_curve

_STEPS = 200
"""Steps whose masks give the mean numbers of tokens."""
_RATE = "perf/samples_per_s"


@attrs.frozen(kw_only=True)
class Expense:
    """What one run has cost.

    Args:
        samples: that it has trained on.
        flops_per_sample: counted; None where a part cannot be counted.
        seconds: of training alone, at the median rate; None where nobody measured.
    """

    samples: int
    flops_per_sample: float | None
    seconds: float | None

    @property
    def flops(self) -> float | None:
        """Operations of the whole run."""
        each = self.flops_per_sample
        return None if each is None else each * self.samples


def expenses(outcomes: Sequence[Outcome]) -> dict[str, Expense]:
    """What each run has cost so far, by the run's name. Seeds of a variant are counted once."""
    counted: dict[str, float | None] = {}
    found = {}
    for outcome in outcomes:
        run = outcome.run
        label, samples = run.variant.label, outcome.step * run.config.train.global_batch
        if label not in counted:
            counted[label] = flops_per_sample(run.config)
        found[run.name] = Expense(
            samples=samples,
            flops_per_sample=counted[label],
            seconds=train_seconds(run.folder, samples) if samples else None,
        )
    return found


def flops_per_sample(config: RunConfig) -> float | None:
    """Operations that training on one sample takes, at the mean numbers of tokens of the masks.

    They are counted once, however often a sweep asks: its table is written after each run.

    Returns:
        None where a part cannot be counted on the meta device.
    """
    return _counted(_Countable(json.dumps(unstructure(config), default=str), config))


@attrs.frozen
class _Countable:
    """A config that a cache can find again: by its text."""

    text: str
    config: RunConfig = attrs.field(eq=False)


@functools.lru_cache(maxsize=1024)
def _counted(asked: _Countable) -> float | None:
    try:
        with strangers():
            return cost.count(asked.config, steps=_STEPS).flops_per_sample
    except JepaError:
        # A part that reads its tensors trains, but cannot be counted; a broken one fails its run.
        return None


def train_seconds(folder: Path, samples: int) -> float | None:
    """Seconds that training on so many samples took, from the median rate.

    The clock of a run that was stopped and resumed would count the pause too.

    Args:
        folder: of the run.
        samples: that it has trained on.

    Returns:
        None where the run kept no `metrics.jsonl` with a rate.
    """
    path = folder / METRICS_FILE
    if not path.is_file():
        return None
    try:
        rates = read_curve(path, _RATE).values
    except DataError:
        # A run that goes on writes the last line right now.
        return None
    return samples / float(np.median(rates)) if len(rates) else None


def mean_seconds(expenses: Sequence[Expense]) -> float | None:
    """The mean over runs that were measured."""
    known = [each.seconds for each in expenses if each.seconds is not None]
    return sum(known) / len(known) if known else None
