"""The target as the online backbone, with gradient through both sides of the loss (LeJEPA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import attrs
from torch import Tensor

from jepa.core.interfaces import Target, TargetUpdater
from jepa.core.model import Backbone, take_targets
from jepa.core.tokens import Masks


@final
class SharedTarget(Target):
    """The backbone as it stands: no stop-gradient, no copy, and its own mode."""

    def __init__(self, online: Backbone) -> None:
        super().__init__()
        # In a tuple, so that the shared parameters stand once in the model's state.
        self._shared = (online,)
        self.dim = online.dim

    @property
    def backbone(self) -> Backbone:
        """The online backbone, which users evaluate."""
        return self._shared[0]

    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Features of whole inputs at the target places: [B, M, T, D] of each view."""
        return take_targets(self.backbone(inputs), views)


@final
class Shared(TargetUpdater):
    """Nothing to move. By itself it collapses: it is meant to go with a regularizer.

    Source: LeJEPA (arXiv 2511.08544), which trains without stop-gradient and teacher.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def make_target(self, online: Backbone) -> SharedTarget:
        """The online backbone itself."""
        return SharedTarget(online)

    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Does nothing."""
        return {}
