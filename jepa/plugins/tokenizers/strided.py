"""Strided convolutions over a series (t): tokens that overlap (wav2vec 2.0, WavJEPA)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NoReturn, final

import attrs
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from jepa.core.errors import ConfigError, JepaError
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec, Tokenizer
from jepa.core.settings import FieldError, positive, positive_all
from jepa.core.tokens import Tokens
from jepa.plugins.layers import EPS, initialise


@final
class StridedTokenizer(Tokenizer):
    """A stack of strided convolutions, each followed by a layer norm over channels and GELU.

    A token reads `receptive_field` samples, and the next begins `hop` samples later: the product of
    the strides. With the defaults (arXiv 2006.11477, 2509.23238) that is 240 and 160, so a token
    reads 1.5 hops (`overlap` is 0.5), and a sixth of what a target reads is read by the token on
    either side too: a little of a target leaks into its context. Norms see one place at a time, so
    nothing else does.

    Inputs are not padded: n samples give (n - receptive_field) // hop + 1 tokens, and what lies
    behind the last whole token is not read. 2.01 s at 16 kHz are 200 tokens.

    Attributes:
        receptive_field: samples that a token reads.
        hop: samples from one token's first to the next one's.
        overlap: what a token shares with the next, in hops: receptive_field / hop - 1.

    Raises:
        ConfigError: inputs of more than one axis, or too short for a token.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the defaults are WavJEPA's."""

        kernels: tuple[int, ...] = attrs.field(default=(10, 3, 3, 3, 3, 2), validator=positive_all)
        """Samples that each convolution reads."""
        strides: tuple[int, ...] = attrs.field(default=(5, 2, 2, 2, 2, 2), validator=positive_all)
        """Samples that each goes on by; at most its kernel, so that none is passed over."""
        width: int = attrs.field(default=512, validator=positive)
        """Channels between the convolutions."""
        init_std: float | None = attrs.field(default=None, validator=positive)
        """Standard deviation that the weights start with; null: each matrix 1 / sqrt(values that it
        adds up), which keeps the spread of what goes through."""

        def __attrs_post_init__(self) -> None:
            if len(self.kernels) != len(self.strides):
                raise FieldError(
                    "strides",
                    f"found {len(self.strides)}, allowed: one for each of the "
                    f"{len(self.kernels)} kernels",
                )
            if any(s > k for k, s in zip(self.kernels, self.strides, strict=True)):
                raise FieldError(
                    "strides",
                    f"found {list(self.strides)}, allowed: at most the kernels "
                    f"{list(self.kernels)}; longer ones would pass samples over",
                )

    def __init__(self, config: Config, *, spec: InputSpec, dim: int) -> None:
        super().__init__()
        if len(spec.axes) != 1:
            raise ConfigError(
                f"found inputs over the axes {list(spec.axes)}, allowed: one axis", "strided"
            )
        self.coords: Tensor
        self.axes = spec.axes
        self.hop = math.prod(config.strides)
        self.receptive_field = _receptive_field(config.kernels, config.strides)
        self.overlap = self.receptive_field / self.hop - 1
        self.grid = self.grid_for(spec.shape)
        widths = [spec.shape[0], *[config.width] * len(config.kernels)]
        self.convs = nn.ModuleList(
            nn.Conv1d(before, after, kernel, stride, bias=False)
            for before, after, kernel, stride in zip(
                widths, widths[1:], config.kernels, config.strides, strict=False
            )
        )
        self.norms = nn.ModuleList(nn.LayerNorm(config.width, eps=EPS) for _ in config.kernels)
        self.proj = nn.Linear(config.width, dim)
        self.register_buffer("coords", self.grid.coords(), persistent=False)
        for layer in (*self.convs, *self.norms, self.proj):
            initialise(layer, config.init_std or _spread(layer))

    def grid_for(self, shape: Sequence[int]) -> Grid:
        """The grid of one input [C, samples]."""
        if len(shape) != 2 or shape[1] < self.receptive_field:
            raise ConfigError(
                f"found an input of {list(shape[1:])} samples, allowed: one axis of at least "
                f"{self.receptive_field}, which a token reads",
                "strided",
            )
        return Grid(((shape[1] - self.receptive_field) // self.hop + 1,), self.axes)

    def forward(self, inputs: Tensor) -> Tokens:
        """[B, C, samples] -> data [B, N, D], coords [B, N, 1]."""
        grid = self.grid_for(inputs.shape[1:])
        x = inputs
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(rearrange(conv(x), "B C n -> B n C"))
            x = rearrange(F.gelu(x), "B n C -> B C n")
        data = self.proj(rearrange(x, "B C N -> B N C"))
        coords = self.coords if grid == self.grid else grid.coords().to(data.device)
        return Tokens(data, coords.expand(data.shape[0], -1, -1))

    def raw(self, inputs: Tensor) -> NoReturn:
        """Refused: tokens overlap, so none has a content of its own.

        Raises:
            JepaError: always.
        """
        raise JepaError(
            f"the tokens of 'strided' overlap (each reads {self.receptive_field} samples, and the "
            f"next begins {self.hop} later), so none has a content of its own"
        )


def _receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one output of the stack reads."""
    reach, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        reach += (kernel - 1) * step
        step *= stride
    return reach


def _spread(layer: nn.Module) -> float:
    """1 / sqrt(values that an output adds up); norms have none."""
    weight = getattr(layer, "weight", None)
    if isinstance(weight, Tensor) and weight.ndim > 1:
        return float(weight[0].numel() ** -0.5)
    return 1.0
