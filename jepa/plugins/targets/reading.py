"""How targets are read from a network: from which blocks, and what it sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import attrs
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from jepa.core.errors import ConfigError, Fault
from jepa.core.model import Backbone, take_targets
from jepa.core.tokens import Masks, Tokens

LayersNormalise = Literal["token", "sequence"]
Hide = Literal["output", "input"]


@attrs.frozen
class Reading:
    """Reads targets from a network.

    Args:
        layers: k; the targets are the average of the last k blocks' outputs.
        layers_normalise: how each of them is normalised first, where k is above 1. The last block's
            output has the encoder's final norm already (`Encoder.layers`).
        hide: `output`: the network sees the whole input, and its output is masked. `input`: it
            sees the tokens of one target block alone.
    """

    layers: int
    layers_normalise: LayersNormalise
    hide: Hide

    def check(self, network: Backbone) -> None:
        """Refuse more layers than there are.

        Raises:
            ConfigError: at `layers`.
        """
        depth = network.encoder.depth
        if self.layers > depth:
            raise ConfigError(
                Fault("layers", f"found {self.layers}, allowed: 1 to {depth}, the encoder's blocks")
            )

    def __call__(
        self, network: Backbone, inputs: Tensor, views: Sequence[Masks]
    ) -> tuple[Tensor, ...]:
        """Prepared inputs [B, *S] -> [B, M, T, D] of each view."""
        tokens = network.tokens(inputs)  # [B, N, D]
        if self.hide == "output":
            return take_targets(self._features(network, tokens), views)
        return tuple(self._apart(network, tokens, masks) for masks in views)

    def _apart(self, network: Backbone, tokens: Tokens, masks: Masks) -> Tensor:
        """Each target block encoded by itself: data [B, N, D] -> [B, M, T, D]."""
        (data,) = take_targets(tokens.data, [masks])
        (coords,) = take_targets(tokens.coords, [masks])
        block = Tokens(*(rearrange(part, "B M T d -> (B M) T d") for part in (data, coords)))
        return rearrange(
            self._features(network, block), "(B M) T D -> B M T D", M=masks.targets.shape[1]
        )

    def _features(self, network: Backbone, tokens: Tokens) -> Tensor:
        """data [b, n, D] -> [b, n, D]."""
        if self.layers == 1:
            return network.encoder(tokens)  # type: ignore[no-any-return]
        normalise = _NORMALISATIONS[self.layers_normalise]
        outputs = network.encoder.layers(tokens, range(-self.layers, 0))
        return torch.stack([normalise(output) for output in outputs]).mean(dim=0)


def _by_token(output: Tensor) -> Tensor:
    """Each token over its features: [b, n, D] -> [b, n, D] (data2vec, arXiv 2202.03555, 3.3)."""
    return F.layer_norm(output, (output.shape[-1],))


def _by_sequence(output: Tensor) -> Tensor:
    """Each feature over the tokens that are seen: [b, n, D] -> [b, n, D] (WavJEPA); 0 for one."""
    variance, mean = torch.var_mean(output, dim=1, keepdim=True, correction=0)
    return (output - mean) * (variance + _EPS).rsqrt()


_EPS = 1e-5
_NORMALISATIONS: Mapping[LayersNormalise, Callable[[Tensor], Tensor]] = {
    "token": _by_token,
    "sequence": _by_sequence,
}
