"""The target as a network that nothing moves: a trained one, or one with random weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import attrs
import torch
from torch import Tensor

from jepa.core.errors import CheckpointError, ConfigError, Fault, JepaError, PluginError
from jepa.core.grid import Grid
from jepa.core.interfaces import Target, TargetUpdater
from jepa.core.model import Backbone, evaluating, take_targets
from jepa.core.tokens import Masks
from jepa.core.training.trained import load_backbone


@final
class FrozenTarget(Target):
    """A network beside the online one that sees the whole input, in evaluation mode."""

    def __init__(self, network: Backbone) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.dim = network.dim

    @property
    def backbone(self) -> None:
        """None: the run trains the online backbone, and that is what users evaluate."""
        return

    @torch.no_grad()
    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Features at the target places, without gradient: [B, M, T, D_target] of each view."""
        with evaluating(self.network):
            return take_targets(self.network(inputs), views)


@final
class Frozen(TargetUpdater):
    """Nothing to move: the target stays what it was at the first step.

    Checkpoints hold its weights too, so a run that goes on has the same targets even if the
    folder that they came from has trained on. The teacher gets inputs as this run's modality
    prepares them.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Whose weights."""

        checkpoint: Path | None = None
        """A training folder or a checkpoint: its target encoder. A relative path is relative to
        the working directory. Null: the online network's own initial weights."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def make_target(self, online: Backbone) -> FrozenTarget:
        """A copy of the online backbone, or the trained one, which may be of another width.

        Raises:
            ConfigError: it cannot be loaded, or does not cut inputs into the same grid.
        """
        if self.config.checkpoint is None:
            return FrozenTarget(copy.deepcopy(online))
        path = self.config.checkpoint
        try:
            # On the CPU even where a model is only sketched: it must be sound there too.
            with torch.device("cpu"):
                network = load_backbone(path).backbone
        except (CheckpointError, ConfigError, PluginError) as error:
            raise ConfigError(Fault("checkpoint", str(error))) from error
        found = _grid_of(network, online, path)
        if found != online.tokenizer.grid:
            raise _unfit(f"a grid of {found}", f"the same grid of {online.tokenizer.grid}", path)
        return FrozenTarget(network.to(next(online.parameters()).device))

    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Does nothing."""
        return {}


def _grid_of(network: Backbone, online: Backbone, path: Path) -> Grid:
    """The grid that a network makes of the online network's inputs."""
    theirs, ours = network.spec, online.spec
    if (theirs.shape[0], theirs.axes) != (ours.shape[0], ours.axes):
        found = f"inputs of {theirs.shape[0]} channels over the axes {list(theirs.axes)}"
        raise _unfit(found, f"{ours.shape[0]} channels over {list(ours.axes)}", path)
    try:
        return network.tokenizer.grid_for(ours.shape)
    except JepaError as error:
        grid = online.tokenizer.grid
        raise _unfit(
            f"a tokenizer that cannot take inputs of {list(ours.shape)} ({error})",
            f"one that makes the grid {grid} of them",
            path,
        ) from error


def _unfit(found: str, allowed: str, path: Path) -> ConfigError:
    return ConfigError(
        Fault("checkpoint", f"the network in {path} has {found}; allowed: {allowed}")
    )
