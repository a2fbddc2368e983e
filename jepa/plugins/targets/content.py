"""The target as the plain content of tokens, without a network: what masked autoencoders predict.

Its entry point is called `pixels`, after the ablation of I-JEPA's paper (arXiv 2301.08243).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.errors import ConfigError, JepaError
from jepa.core.interfaces import Target, TargetUpdater, Tokenizer
from jepa.core.model import Backbone, take_targets
from jepa.core.tokens import Masks

_EPS = 1e-6


@final
class ContentTarget(Target):
    """The content of each token, normalised to mean 0 and variance 1 over its P values.

    Args:
        tokenizer: of the online backbone.
        dim: P, the values of a token.
    """

    def __init__(self, tokenizer: Tokenizer, dim: int) -> None:
        super().__init__()
        # In a tuple, so that the tokenizer's parameters stand once in the model's state.
        self._shared = (tokenizer,)
        self.dim = dim

    @property
    def backbone(self) -> None:
        """None: there is no network, so users evaluate the online backbone."""
        return

    @torch.no_grad()
    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Normalised content at the target places, without gradient: [B, M, T, P] of each view."""
        content = self._shared[0].raw(inputs)  # [B, N, P]
        return take_targets(F.layer_norm(content, (self.dim,), eps=_EPS), views)


@final
class Content(TargetUpdater):
    """Nothing to move: the content of a sample is what it is.

    Normalised a token at a time, as MAE does (arXiv 2111.06377, section 3). A constant token
    becomes zeros. The objective's `normalise` acts on top of it; `layer` changes nothing more.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """No settings."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def make_target(self, online: Backbone) -> ContentTarget:
        """The content as the online tokenizer cuts it.

        Raises:
            ConfigError: its tokens have no content of their own, or one value, which normalised
                is 0.
        """
        try:
            content = online.tokenizer.raw(torch.zeros(1, *online.spec.shape))
        except JepaError as error:
            raise ConfigError(f"this target needs tokens that do not overlap: {error}") from error
        if content.shape[-1] < 2:
            raise ConfigError(
                "this target normalises the values of each token, found 1 value, allowed: 2 or "
                "more; make the tokenizer's tokens larger"
            )
        return ContentTarget(online.tokenizer, content.shape[-1])

    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Does nothing."""
        return {}
