"""From a checkpoint to what users evaluate: its backbone, its whole model, the same untrained."""

from __future__ import annotations

import attrs
import torch

from jepa.core.build import Built, build, make_backbone
from jepa.core.config import RunConfig
from jepa.core.interfaces import no_grad_eval
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.training.checkpoint import Checkpoint
from jepa.core.training.state import load_model
from jepa.core.training.trained import Frozen, find_checkpoint, load_backbone, read_config

__all__ = [
    "Frozen",
    "device_of",
    "find_checkpoint",
    "load_backbone",
    "load_jepa",
    "random_backbone",
    "read_config",
]


def load_jepa(checkpoint: Checkpoint, config: RunConfig) -> Built:
    """The whole model of a run: context encoder, predictor, target and objective.

    Args:
        checkpoint: as `find_checkpoint` gives it.
        config: as `read_config` gives it.

    Returns:
        On the CPU, the model frozen and in evaluation mode.

    Raises:
        CheckpointError: the checkpoint does not fit its own config.
        ConfigError: parts that do not fit together.
    """
    built = build(config)
    load_model(checkpoint, built.model)
    no_grad_eval(built.model)
    return built


def random_backbone(config: RunConfig, modality: Modality, seed: int) -> Backbone:
    """The same network with the initial weights that `seed` gives, frozen."""
    train = attrs.evolve(config.train, seed=seed)
    backbone = make_backbone(attrs.evolve(config, train=train), modality)
    no_grad_eval(backbone)
    return backbone


def device_of(config: RunConfig) -> torch.device:
    """Where to evaluate: a GPU where there is one, unless the run asked for the CPU."""
    usable = config.train.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if usable else "cpu")
