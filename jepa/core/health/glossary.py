"""What each scalar of the observer `health` means, in a line."""

from __future__ import annotations

from typing import Literal

import attrs

Better = Literal["high", "low", "neither"]


@attrs.frozen
class Measure:
    """One scalar.

    Args:
        name: without the prefix `health/`.
        better: which end is good; `neither` where it depends.
        meaning: a line for people.
    """

    name: str
    better: Better
    meaning: str


MEASURES = (
    Measure("loss", "low", "the objective on the fixed batch"),
    Measure("loss_mean", "neither", "the same of always saying the mean target"),
    Measure("loss_position", "neither", "the same of saying what others have at that place"),
    Measure("loss_copy", "neither", "the same of repeating the nearest context token"),
    Measure("explained_variance", "high", "share of the targets' variance that is predicted"),
    Measure("target_rank", "high", "directions that target tokens use (RankMe)"),
    Measure("context_rank", "high", "directions that context tokens use (RankMe)"),
    Measure("predicted_rank", "high", "directions that predictions use (RankMe)"),
    Measure("target_lidar", "high", "directions that tell samples apart, targets (LiDAR)"),
    Measure("context_lidar", "high", "directions that tell samples apart, contexts (LiDAR)"),
    Measure("target_std", "high", "spread of target tokens: 1 free, 0 all the same"),
    Measure("context_std", "high", "spread of context tokens: 1 free, 0 all the same"),
    Measure("predicted_std", "high", "spread of predictions; 0: one answer for all"),
    Measure("alignment", "neither", "distance of one sample's contexts under two masks"),
    Measure("uniformity", "low", "how evenly samples fill the sphere; 0: one place"),
    Measure("ema_drift", "neither", "how far the target's weights lag behind, relative"),
    Measure("knn", "high", "online k-NN accuracy"),
    Measure("knn_init", "neither", "online k-NN accuracy of the initial weights"),
    Measure("knn_asked", "neither", "samples that the online k-NN is asked"),
)
