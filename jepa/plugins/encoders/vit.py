"""The Vision Transformer (2010.11929) over (token, coordinate) pairs, without a class token."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import Literal, cast

import attrs
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa.core.grid import Grid
from jepa.core.interfaces import Attentive, Encoder
from jepa.core.settings import positive
from jepa.core.tokens import Tokens
from jepa.plugins.layers import (
    EPS,
    Block,
    Positions,
    SinCos,
    check_heads,
    drop_rate,
    initialise,
    pick,
)


@attrs.frozen
class Preset:
    """A size that the field knows by name."""

    dim: int
    depth: int
    heads: int
    mlp_dim: int


PRESETS = MappingProxyType(
    {
        "tiny": Preset(192, 12, 3, 768),
        "small": Preset(384, 12, 6, 1536),
        "base": Preset(768, 12, 12, 3072),
        "large": Preset(1024, 24, 16, 4096),
        "huge": Preset(1280, 32, 16, 5120),
        "giant": Preset(1408, 40, 16, 6144),
    }
)


class ViTEncoder(Encoder, Attentive):
    """Pre-norm blocks over tokens with fixed positions added, and a final norm.

    Source: I-JEPA (2301.08243), appendix A; sizes as in its released code.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the ViT encoder. A preset fills what is left at null."""

        preset: Literal["tiny", "small", "base", "large", "huge", "giant"] | None = None
        depth: int | None = attrs.field(default=None, validator=positive)
        """Blocks; null: the preset's, or 12."""
        heads: int | None = attrs.field(default=None, validator=positive)
        """Heads; null: the preset's, or a head for every 64 of the width."""
        mlp_dim: int | None = attrs.field(default=None, validator=positive)
        """Width inside the MLP; null: the preset's, or 4 times the width."""
        drop_path: float = attrs.field(default=0.0, validator=drop_rate)
        """Drop rate of the last block; earlier blocks' rise linearly to it."""
        init_std: float = attrs.field(default=0.02, validator=positive)
        """Standard deviation that matrices start with. 0.02 (I-JEPA) suits widths near 1000; narrow
        networks start as almost the identity at it and learn slowly."""
        positions: Literal["extend", "interpolate"] = "interpolate"
        """On a grid of another size: count on, or stretch the trained range."""
        position_order: tuple[str, ...] | None = None
        """Axes in the order of their parts of the width; null: the grid's."""
        activation_checkpointing: bool = False
        """Recompute blocks in the backward pass: less memory, about a third more time."""

    @classmethod
    def width(cls, config: Config) -> int | None:
        """The preset's width."""
        return PRESETS[config.preset].dim if config.preset else None

    def __init__(self, config: Config, *, grid: Grid, dim: int) -> None:
        super().__init__()
        preset = PRESETS[config.preset] if config.preset else None
        same = preset is not None and preset.dim == dim
        self.depth = config.depth or (preset.depth if preset else 12)
        heads = config.heads or (preset.heads if preset else max(1, dim // 64))
        hidden = config.mlp_dim or (preset.mlp_dim if preset and same else 4 * dim)
        check_heads(dim, heads)
        self.checkpointing = config.activation_checkpointing
        self.positions = Positions(SinCos(grid, dim, config.position_order, config.positions))
        # On the CPU: these are settings, also when the model is built on the meta device.
        rates = torch.linspace(0.0, config.drop_path, self.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(Block(dim, heads, hidden, rate) for rate in rates)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        initialise(self, config.init_std)

    def forward(self, tokens: Tokens) -> Tensor:
        """data [B, n, D], coords [B, n, A] -> [B, n, D]."""
        x = tokens.data + self.positions(tokens.coords)
        for block in self.blocks:
            x = self._run(block, x)
        return self.norm(x)  # type: ignore[no-any-return]

    def layers(self, tokens: Tokens, indices: Sequence[int]) -> list[Tensor]:
        """Outputs [B, n, D] of the chosen blocks; the last one's is normalised."""
        x = tokens.data + self.positions(tokens.coords)
        outputs = []
        for block in self.blocks:
            x = self._run(block, x)
            outputs.append(x)
        outputs[-1] = self.norm(x)
        return pick(outputs, indices)

    def attention(self, tokens: Tokens, index: int) -> Tensor:
        """Attention weights [B, H, n, n] of the chosen block."""
        (chosen,) = pick(range(self.depth), [index])
        x = tokens.data + self.positions(tokens.coords)
        for block in self.blocks[:chosen]:
            x = self._run(block, x)
        return cast("Block", self.blocks[chosen]).attention(x)

    def regrid(self, grid: Grid) -> None:
        """Positions for a grid of another size."""
        self.positions.regrid(grid)

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)  # type: ignore[no-any-return]
        return block(x)  # type: ignore[no-any-return]
