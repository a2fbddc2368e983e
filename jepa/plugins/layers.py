"""Transformer layers that the encoder and the predictor share. Names follow timm's ViT.

Letters: B batch, n tokens at hand, D width, H heads, d = D / H, A axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import attrs
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.settings import check

T = TypeVar("T")

EPS = 1e-6
"""Of every layer norm (I-JEPA, and ViT before it)."""

drop_rate = check("0 or more, below 1", lambda v: 0 <= v < 1)
"""Validates a drop rate: at 1 nothing would be left to scale up."""


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention: q, k, v [B, H, n, d] -> [B, H, n, d].

    The kernel is chosen by device and dtype, from measurement (benchmarks/step.py): PyTorch's
    fused kernel, except for bf16 on the CPU, where plain matrix products are faster, and on the
    meta device, where only plain products can be counted.
    """
    explicit = q.device.type == "meta" or (q.device.type == "cpu" and q.dtype == torch.bfloat16)
    if not explicit:
        return F.scaled_dot_product_attention(q, k, v)
    heads = q.shape[1]
    q, k, v = (rearrange(part, "B H n d -> (B H) n d") for part in (q, k, v))
    # The scale is part of the product, which spares a pass over q.
    nothing = q.new_empty(1, 1, 1)
    scores = torch.baddbmm(nothing, q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    return rearrange(scores.softmax(dim=-1) @ v, "(B H) n d -> B H n d", H=heads)


class Attention(nn.Module):
    """Multi-head self-attention with biases in qkv: [B, n, D] -> [B, n, D]."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor, keep: int | None = None) -> Tensor:
        """Attend [B, n, D]; with `keep`, only the last `keep` tokens ask: -> [B, keep, D]."""
        q, k, v = rearrange(self.qkv(x), "B n (three H d) -> three B H n d", three=3, H=self.heads)
        if keep is not None:
            q = q[:, :, -keep:]
        return self.proj(rearrange(attend(q, k, v), "B H n d -> B n (H d)"))  # type: ignore[no-any-return]

    def weights(self, x: Tensor) -> Tensor:
        """How the tokens [B, n, D] attend to each other: [B, H, n, n], rows sum to 1."""
        q, k, _ = rearrange(self.qkv(x), "B n (three H d) -> three B H n d", three=3, H=self.heads)
        scores: Tensor = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
        return scores.softmax(dim=-1)


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between: [B, n, D] -> [B, n, D]."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, D] -> [B, n, D]."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class DropPath(nn.Module):
    """Drops the whole residual branch of a sample in training (stochastic depth, 1603.09382).

    Draws on the device from torch's default generator, which the trainer seeds before each
    forward pass.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.drops = rate > 0.0
        # A tensor, since compiled code would be made anew for every number.
        self.keep: Tensor
        self.register_buffer("keep", torch.tensor(1.0 - rate), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, n, D] -> [B, n, D], kept samples scaled so that the mean stays."""
        if not (self.training and self.drops):
            return x
        kept = torch.bernoulli(self.keep.expand(x.shape[0], 1, 1))
        return x * kept.to(x.dtype) / self.keep


class Block(nn.Module):
    """A pre-norm transformer block: [B, n, D] -> [B, n, D]."""

    def __init__(self, dim: int, heads: int, hidden: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=EPS)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, hidden)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, keep: int | None = None) -> Tensor:
        """[B, n, D] -> [B, n, D], or with `keep` only the last `keep` tokens: [B, keep, D]."""
        kept = x if keep is None else x[:, -keep:]
        kept = kept + self.drop_path(self.attn(self.norm1(x), keep))
        return kept + self.drop_path(self.mlp(self.norm2(kept)))  # type: ignore[no-any-return]

    def attention(self, x: Tensor) -> Tensor:
        """How tokens that enter the block [B, n, D] attend to each other: [B, H, n, n]."""
        return self.attn.weights(self.norm1(x))


def check_heads(dim: int, heads: int) -> None:
    """Refuse a width that the heads do not divide.

    Raises:
        ConfigError: at the setting `heads`, with both numbers.
    """
    if dim % heads:
        fits = [h for h in range(1, 65) if dim % h == 0]
        near = min(fits, key=lambda h: abs(h - heads))
        raise ConfigError(
            Fault("heads", f"{heads} heads do not divide the width {dim}; {near} would")
        )


@torch.no_grad()
def initialise(module: nn.Module, std: float = 0.02) -> None:
    """Truncated normal for matrices, 0 for biases, 1 and 0 for norms (I-JEPA: std 0.02)."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
            nn.init.trunc_normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


@attrs.frozen
class SinCos:
    """Fixed sine-cosine positions over grid coordinates, as tables per axis.

    Each of A axes gets 2 * ceil(D / 2A) of the width, [sin | cos] with
    omega_i = 10000^(-i / (d / 2)); the parts are concatenated in `order` and cut to D. For two
    axes in the order (x, y) these are I-JEPA's, for three in (t, y, x) V-JEPA's.

    Args:
        grid: that the model is built on.
        dim: width D.
        order: names of the axes in the order of their parts; None: the grid's order.
        mode: on a grid of another size, `extend` counts on beyond the trained coordinates,
            `interpolate` stretches the trained range over the new side.
    """

    grid: Grid
    dim: int
    order: tuple[str, ...] | None
    mode: Literal["extend", "interpolate"]

    def __attrs_post_init__(self) -> None:
        if self.order is not None and sorted(self.order) != sorted(self.grid.axes):
            raise ConfigError(
                Fault(
                    "position_order",
                    f"found {list(self.order)}, allowed: the axes of the grid, "
                    f"{list(self.grid.axes)}, in any order",
                )
            )

    def tables(self, grid: Grid) -> list[Tensor]:
        """One table [side, d] float32 for each axis of `grid`, in the order of the parts."""
        part = 2 * math.ceil(self.dim / (2 * self.grid.ndim))
        tables = []
        for axis in self.order or self.grid.axes:
            which = self.grid.axes.index(axis)
            trained, side = self.grid.shape[which], grid.shape[which]
            at = torch.arange(side, dtype=torch.float64)
            if self.mode == "interpolate" and side != trained:
                at = (at + 0.5) * trained / side - 0.5
            omega = 10000.0 ** (-torch.arange(part // 2, dtype=torch.float64) / (part / 2))
            angle = at[:, None] * omega
            tables.append(torch.cat([angle.sin(), angle.cos()], dim=1).float())
        return tables


class Positions(nn.Module):
    """Looks up fixed positions: coords [B, n, A] int64 -> [B, n, D] float32."""

    def __init__(self, sincos: SinCos) -> None:
        super().__init__()
        self.sincos = sincos
        order = sincos.order or sincos.grid.axes
        self.axes = [sincos.grid.axes.index(axis) for axis in order]
        for place, table in enumerate(sincos.tables(sincos.grid)):
            self.register_buffer(f"table{place}", table, persistent=False)

    def regrid(self, grid: Grid) -> None:
        """Make the tables of a grid of another size with the same axes."""
        if grid.axes != self.sincos.grid.axes:
            raise ConfigError(
                f"positions: found a grid over {grid.axes}, allowed: {self.sincos.grid.axes}"
            )
        for place, table in enumerate(self.sincos.tables(grid)):
            old: Tensor = getattr(self, f"table{place}")
            setattr(self, f"table{place}", table.to(old))

    def forward(self, coords: Tensor) -> Tensor:
        """[B, n, A] -> [B, n, D]."""
        parts = [getattr(self, f"table{i}")[coords[..., a]] for i, a in enumerate(self.axes)]
        return torch.cat(parts, dim=-1)[..., : self.sincos.dim]


def pick(outputs: Sequence[T], indices: Sequence[int]) -> list[T]:
    """What belongs to each block, by index, negative ones from the end.

    Raises:
        ConfigError: an index outside the depth.
    """
    depth = len(outputs)
    wrong = [i for i in indices if not -depth <= i < depth]
    if wrong:
        raise ConfigError(f"layers: found {wrong}, allowed: {-depth} to {depth - 1}")
    return [outputs[i] for i in indices]
