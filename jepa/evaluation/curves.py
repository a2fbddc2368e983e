"""The course of a run, from its `metrics.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jepa.core.errors import DataError

_SMOOTHED = 50
"""The smooth curve averages over about a fiftieth of the run."""
_FEW = 30
"""Fewer points than these are marked, since a line through one point shows nothing."""


class Curve(NamedTuple):
    """A scalar over the steps: `steps` [n] int64, `values` [n] float64, all finite."""

    steps: np.ndarray
    values: np.ndarray


def read_curve(path: Path, name: str) -> Curve:
    """One scalar of `metrics.jsonl`; records without it, or without a finite value, are left out.

    Raises:
        DataError: the file cannot be read, or a line is no record.
    """
    steps: list[int] = []
    values: list[float] = []
    number = 0
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            number += 1
            record = json.loads(line)
            if record.get(name) is not None:
                steps.append(record["step"])
                values.append(record[name])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(f"{path}, line {number}: no record of a run: {error}") from error
    return Curve(np.array(steps, dtype=np.int64), np.array(values, dtype=np.float64))


def loss_curve(loss: Curve, lr: Curve, loss_name: str) -> Figure:
    """Training loss above, learning rate below, over the same steps."""
    figure = Figure(figsize=(8, 5.5), dpi=150, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    few = "o" if len(loss.steps) < _FEW else None
    upper.plot(*loss, color="#9ecae1", linewidth=0.8, marker=few, label="mean of each log interval")
    upper.plot(
        loss.steps, smooth(loss.values), color="#08519c", linewidth=2, marker=few, markersize=3,
        label="running mean",
    )  # fmt: skip
    upper.set_ylabel(f"training loss ({loss_name})")
    upper.set_ylim(bottom=0)
    upper.set_title(
        "A rising loss can be normal: as features improve, targets get harder to predict",
        fontsize=9,
    )
    upper.legend(frameon=False)
    lower.plot(*lr, color="#a63603", linewidth=2, marker=few, markersize=3)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    lower.set_ylabel("learning rate")
    lower.set_xlabel("optimizer step")
    lower.set_ylim(bottom=0)
    for axis in (upper, lower):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean [n]; near the ends over what is there."""
    half = len(values) // _SMOOTHED
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    first, last = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return means
