"""I-JEPA's predictor: a narrow ViT over context tokens and mask tokens."""

from __future__ import annotations

from typing import Literal

import attrs
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from jepa.core.grid import Grid
from jepa.core.interfaces import Predictor
from jepa.core.settings import non_negative, positive
from jepa.core.tokens import Query, Tokens
from jepa.plugins.layers import (
    EPS,
    Block,
    Positions,
    SinCos,
    check_heads,
    drop_rate,
    initialise,
)


class ViTPredictor(Predictor):
    """Narrow blocks over [context | mask tokens]; the mask tokens' outputs are the predictions.

    Parameter names follow the published checkpoints: `predictor_embed`, `mask_token`,
    `predictor_blocks`, `predictor_norm`, `predictor_proj`. Source: I-JEPA (2301.08243), section 3
    and appendix A.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of the ViT predictor."""

        depth: int = attrs.field(default=6, validator=positive)
        dim: int = attrs.field(default=384, validator=positive)
        """Width inside the predictor."""
        heads: int | None = attrs.field(default=None, validator=positive)
        """Null: a head for every 32 of the width. (The published ones have the encoder's.)"""
        mlp_ratio: float = attrs.field(default=4.0, validator=positive)
        drop_path: float = attrs.field(default=0.0, validator=drop_rate)
        token_a_view: bool = False
        """A mask token for each view of the step (V-JEPA), not one for all (I-JEPA)."""
        token_std: float = attrs.field(default=0.02, validator=non_negative)
        """Standard deviation that mask tokens start with; 0 starts them at zero (V-JEPA)."""
        init_std: float = attrs.field(default=0.02, validator=positive)
        """Standard deviation that matrices start with. 0.02 (I-JEPA) suits widths near 1000; narrow
        networks start as almost the identity at it and learn slowly."""
        positions: Literal["extend", "interpolate"] = "interpolate"
        position_order: tuple[str, ...] | None = None
        activation_checkpointing: bool = False

    def __init__(
        self, config: Config, *, grid: Grid, dim: int, target_dim: int, views: int
    ) -> None:
        super().__init__()
        width = config.dim
        heads = config.heads or max(1, width // 32)
        check_heads(width, heads)
        hidden = int(width * config.mlp_ratio)
        self.checkpointing = config.activation_checkpointing
        self.predictor_embed = nn.Linear(dim, width)
        self.positions = Positions(SinCos(grid, width, config.position_order, config.positions))
        rates = torch.linspace(0.0, config.drop_path, config.depth, device="cpu").tolist()
        self.predictor_blocks = nn.ModuleList(Block(width, heads, hidden, rate) for rate in rates)
        self.predictor_norm = nn.LayerNorm(width, eps=EPS)
        self.predictor_proj = nn.Linear(width, target_dim)
        self.token_a_view = config.token_a_view
        tokens = views if config.token_a_view else 1
        self.mask_token = nn.Parameter(torch.zeros(tokens, 1, width))
        initialise(self, config.init_std)
        if config.token_std > 0:
            nn.init.trunc_normal_(self.mask_token, std=config.token_std)

    def forward(self, context: Tokens, query: Query) -> Tensor:
        """data [b, K, D] and coords, query coords [b, T, A] -> [b, T, D_target]."""
        T = query.coords.shape[1]  # noqa: N806
        token = self.mask_token[query.view if self.token_a_view else 0]
        seen = self.predictor_embed(context.data)
        seen = seen + self.positions(context.coords)
        asked = (token + self.positions(query.coords)).to(seen.dtype)
        x = torch.cat([seen, asked], dim=1)
        *blocks, last = self.predictor_blocks
        for block in blocks:
            x = self._run(block, x)
        # Only the asked places are read, so the last block computes only those.
        x = self._run(last, x, T)
        return self.predictor_proj(self.predictor_norm(x))  # type: ignore[no-any-return]

    def _run(self, block: nn.Module, x: Tensor, keep: int | None = None) -> Tensor:
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, keep, use_reentrant=False)  # type: ignore[no-any-return]
        return block(x, keep)  # type: ignore[no-any-return]
