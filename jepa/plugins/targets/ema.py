"""The target as an exponential moving average of the online backbone (I-JEPA, BYOL)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import attrs
import torch
from torch import Tensor

from jepa.core.interfaces import Target, TargetUpdater
from jepa.core.model import Backbone, evaluating
from jepa.core.settings import fraction, positive
from jepa.core.tokens import Masks
from jepa.plugins.targets.reading import Hide, LayersNormalise, Reading


class EmaTarget(Target):
    """A copy of the backbone that no gradient trains, in evaluation mode."""

    def __init__(self, network: Backbone, reading: Reading) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.reading = reading
        self.dim = network.dim

    @property
    def backbone(self) -> Backbone:
        """The averaged backbone, which users evaluate."""
        return self.network

    @torch.no_grad()
    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Features at the target places, without gradient: [B, M, T, D] of each view."""
        with evaluating(self.network):
            return self.reading(self.network, inputs, views)


class Ema(TargetUpdater):
    """target <- momentum * target + (1 - momentum) * online, after each optimizer step.

    The momentum rises linearly over the schedule (recipe: 0.996 to 1.0).
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the moving average."""

        start: float = attrs.field(default=0.996, validator=fraction)
        """Momentum at the first step."""
        end: float = attrs.field(default=1.0, validator=fraction)
        """Momentum at the end of the schedule."""
        layers: int = attrs.field(default=1, validator=positive)
        """Targets are the average of so many of the last blocks' outputs (data2vec)."""
        layers_normalise: LayersNormalise = "token"
        """Where `layers` is above 1, each output is normalised first: each token over its features,
        or each feature over the tokens that the encoder sees."""
        hide: Hide = "output"
        """Output: the target encoder sees the whole input, and its output is masked (I-JEPA).
        Input: it sees the tokens of one target block alone, each block apart."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def make_target(self, online: Backbone) -> EmaTarget:
        """A copy of the online backbone.

        Raises:
            ConfigError: it has fewer blocks than `layers`.
        """
        config = self.config
        reading = Reading(config.layers, config.layers_normalise, config.hide)
        reading.check(online)
        return EmaTarget(copy.deepcopy(online), reading)

    @torch.no_grad()
    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Move every parameter at once; where `applied` is 0 the weight is 0 too."""
        momentum = self.config.start + progress * (self.config.end - self.config.start)
        averaged: list[Tensor] = list(target.parameters())
        new: list[Tensor] = list(online.parameters())
        # A tensor for the weight, since reading `applied` would wait for the device.
        weight = (1.0 - momentum) * applied
        torch._foreach_lerp_(averaged, new, [weight] * len(averaged))
        return {"momentum": momentum}
