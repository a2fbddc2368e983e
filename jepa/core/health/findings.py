"""What the rules of the verdict ask of a trace."""

from __future__ import annotations

import math

import attrs
import numpy as np

from jepa.core.health.trace import BAD_STEPS, HEALTH, LOSS, LR, Trace

_ASKED = 400
SMOOTHED = 20
"""The training loss is averaged over a twentieth of the run so far."""


@attrs.frozen
class Findings:
    """A trace of which the last `agree` measurements count together.

    Args:
        trace: up to the step that is judged.
        agree: measurements whose median is how things stand.
    """

    trace: Trace
    agree: int

    def values(self, name: str) -> np.ndarray:
        """All values of a measure: [n] float64, nan where not finite."""
        return self.trace.series(f"{HEALTH}{name}").values

    def recent(self, name: str) -> float:
        """The median of the last few values; nan where there are none, or one is nan."""
        values = self.values(name)[-self.agree :]
        return float(np.median(values)) if len(values) else math.nan

    def best(self, name: str) -> float:
        """The greatest value so far; nan where there is none."""
        values = self.values(name)
        return float(np.nanmax(values)) if np.isfinite(values).any() else math.nan

    def lowest(self, name: str) -> float:
        """The least median of a few values in a row so far; nan where there are too few."""
        values = self.values(name)
        if len(values) < self.agree:
            return math.nan
        rows = np.lib.stride_tricks.sliding_window_view(values, self.agree)
        medians = np.median(rows, axis=1)
        return float(np.nanmin(medians)) if np.isfinite(medians).any() else math.nan

    def at(self, name: str, step: int) -> float:
        """The median of the last few values that were known at a step; nan where none was."""
        steps, values = self.trace.series(f"{HEALTH}{name}")
        known = values[steps <= step][-self.agree :]
        return float(np.median(known)) if len(known) else math.nan

    def ratios(self) -> np.ndarray:
        """The predictor's loss over that of always saying the mean, of the last measurements."""
        losses, means = (self.values(name)[-self.agree :] for name in ("loss", "loss_mean"))
        if len(losses) != len(means):
            return np.array([])
        with np.errstate(divide="ignore", invalid="ignore"):
            shares: np.ndarray = losses / means
        return shares

    def not_finite(self) -> bool:
        """Whether the newest loss, of training or of the fixed batch, is not finite."""
        newest = (self.values("loss"), self.trace.series(LOSS).values)
        return any(len(values) > 0 and math.isnan(values[-1]) for values in newest)

    def skipped(self) -> float:
        """Steps in a row that were skipped, as of the last log line."""
        values = self.trace.series(BAD_STEPS).values
        return float(values[-1]) if len(values) else 0.0

    def rate_rises(self) -> bool:
        """Whether the learning rate still warms up."""
        rates = self.trace.series(LR).values
        return len(rates) > 1 and bool(rates[-1] > rates[-2] and rates[-1] >= rates.max())

    def training_loss(self) -> tuple[np.ndarray, np.ndarray]:
        """Steps and running means of the training loss, each over what came before it."""
        steps, values = self.trace.series(LOSS)
        finite = np.isfinite(values)
        steps, values = steps[finite], values[finite]
        width = max(self.agree, len(values) // SMOOTHED)
        if len(values) < width:
            return steps[:0], values[:0]
        sums = np.concatenate([[0.0], np.cumsum(values)])
        means: np.ndarray = (sums[width:] - sums[:-width]) / width
        return steps[width - 1 :], means

    def noise(self) -> float:
        """How much noisier the k-NN is than one that asks 400 samples: at least 1."""
        asked = self.recent("knn_asked")
        return max(1.0, math.sqrt(_ASKED / asked)) if asked > 0 else 1.0

    def evidence(self) -> dict[str, float]:
        """The numbers that a verdict rests on."""
        found = {name: self.recent(name) for name in _EVIDENCE}
        found["best_target_rank"] = self.best("target_rank")
        ratios = self.ratios()
        found["loss_over_mean"] = float(ratios[-1]) if len(ratios) else math.nan
        _, loss = self.training_loss()
        if len(loss):
            found |= {"training_loss": float(loss[-1]), "least_training_loss": float(loss.min())}
        return {name: value for name, value in found.items() if math.isfinite(value)}


_EVIDENCE = ("explained_variance", "target_rank", "target_std", "knn", "knn_init")
