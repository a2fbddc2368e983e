"""The health of a run as a picture: four panels over the steps."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jepa.core.health.history import History
from jepa.core.health.trace import HEALTH, LOSS, Trace

_FEW = 30
"""Fewer points than these are marked."""
_LOSSES = {
    "loss": ("predictor", "#08519c", 2.0),
    "loss_mean": ("always the mean", "#a63603", 1.2),
    "loss_position": ("the place's mean", "#e6550d", 1.2),
    "loss_copy": ("nearest context token", "#fdae6b", 1.2),
}
_SHARES = {
    "explained_variance": ("explained variance", "#08519c", 2.0),
    "target_std": ("spread of targets", "#31a354", 1.2),
    "context_std": ("spread of context", "#a1d99b", 1.2),
    "predicted_std": ("spread of predictions", "#9e9ac8", 1.2),
}
_RANKS = {
    "target_rank": ("targets", "#31a354", 2.0),
    "context_rank": ("context", "#a1d99b", 1.2),
    "predicted_rank": ("predictions", "#9e9ac8", 1.2),
    "target_lidar": ("targets, LiDAR", "#636363", 1.2),
    "context_lidar": ("context, LiDAR", "#bdbdbd", 1.2),
}


def health_curves(trace: Trace, found: History) -> Figure:
    """Losses beside trivial ones, shares, ranks, and k-NN (or alignment without labels).

    The verdict stands above; where it was an alarm, the ground is red.
    """
    figure = Figure(figsize=(10, 7), dpi=150, layout="constrained")
    (losses, shares), (ranks, last) = figure.subplots(2, 2, sharex=True)
    figure.suptitle(f"step {found.now.step}: {found.now.verdict.sentence}", fontsize=11)
    training = trace.series(LOSS)
    losses.plot(*training, color="#9ecae1", linewidth=0.8, label="training")
    _draw(losses, trace, _LOSSES, "loss on the fixed batch")
    losses.set_ylim(bottom=0)
    _draw(shares, trace, _SHARES, "share")
    shares.axhline(0, color="black", linewidth=0.6)
    shares.set_ylim(bottom=max(-1.0, min(0.0, shares.get_ylim()[0])), top=1.02)
    _draw(ranks, trace, _RANKS, "effective rank")
    ranks.set_ylim(bottom=0)
    _features(last, trace)
    for axis in (losses, shares, ranks, last):
        _shade(axis, found)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(frameon=False, fontsize=7)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in (ranks, last):
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("optimizer step")
    return figure


def _draw(axis: Axes, trace: Trace, styles: Mapping[str, tuple[str, str, float]], y: str) -> None:
    for name, (label, color, width) in styles.items():
        steps, values = trace.series(f"{HEALTH}{name}")
        marker = "o" if len(steps) < _FEW else None
        if len(steps):
            axis.plot(
                steps, values, color=color, linewidth=width, label=label, marker=marker,
                markersize=3,
            )  # fmt: skip
    axis.set_ylabel(y)


def _features(axis: Axes, trace: Trace) -> None:
    """What features are good for: k-NN beside that of the initial weights, where it was asked."""
    initial = trace.series(f"{HEALTH}knn_init").values
    if trace.series(f"{HEALTH}knn").steps.size == 0:
        styles = {
            "alignment": ("alignment", "#08519c", 1.5),
            "uniformity": ("uniformity", "#a63603", 1.5),
        }
        _draw(axis, trace, styles, "contexts on the sphere")
        return
    _draw(axis, trace, {"knn": ("online k-NN", "#08519c", 2.0)}, "accuracy")
    if initial.size:
        axis.axhline(initial[0], color="#a63603", linewidth=1.2, label="initial weights")


def _shade(axis: Axes, found: History) -> None:
    ends = [turn.step for turn in found.turns[1:]] + [found.now.step]
    for (step, verdict), end in zip(found.turns, ends, strict=True):
        if verdict.kind.alarm:
            axis.axvspan(step, end, color="#de2d26", alpha=0.12, linewidth=0)
