"""The target as the online backbone itself, behind a stop-gradient (SimSiam)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from jepa.core.interfaces import Target, TargetUpdater
from jepa.core.model import Backbone, evaluating, take_targets
from jepa.core.tokens import Masks


class OnlineTarget(Target):
    """The backbone as it stands, in evaluation mode, without gradient."""

    def __init__(self, online: Backbone) -> None:
        super().__init__()
        # In a tuple, so that the shared parameters stand once in the model's state.
        self._shared = (online,)
        self.dim = online.dim

    @property
    def backbone(self) -> Backbone:
        """The online backbone, which users evaluate."""
        return self._shared[0]

    @torch.no_grad()
    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Features at the target places, without gradient: [B, M, T, D] of each view."""
        with evaluating(self.backbone):
            return take_targets(self.backbone(inputs), views)


class Online(TargetUpdater):
    """Nothing to move: the target is the online network with its gradient stopped."""

    @attrs.frozen(kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def make_target(self, online: Backbone) -> OnlineTarget:
        """The online backbone behind a stop-gradient."""
        return OnlineTarget(online)

    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Does nothing."""
        return {}
