"""anyjepa: train joint-embedding predictive architectures on any modality."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jepa.evaluation.encoder import TrainedEncoder

__version__ = "0.1.0.dev0"


def load(path: Path | str) -> TrainedEncoder:
    """A trained encoder with its transform, to get features with.

    Args:
        path: a folder that `jepa train` wrote (its newest valid checkpoint counts), or one of its
            checkpoints.

    Returns:
        The target encoder on the CPU, frozen, in evaluation mode. Where the target is no network,
        it is the context encoder.

    Raises:
        CheckpointError: there is no valid checkpoint, or it does not fit its own config.
        ConfigError: the checkpoint names parts that are not installed.
    """
    # Importing `jepa` must import no torch: the command line answers at once.
    from jepa.evaluation.encoder import TrainedEncoder
    from jepa.evaluation.loading import load_backbone

    return TrainedEncoder(*load_backbone(path))
