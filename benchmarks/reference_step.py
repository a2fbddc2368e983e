"""A training step of I-JEPA written as the field writes it: the yardstick of benchmarks/step.py.

Explicit softmax attention, a convolution for patches, AdamW as it comes, a Python loop over
parameters for the moving average, the loss read as a float at every step. Same networks, masks,
precision and loss as ours; weights differ, which no timing sees.
"""

from __future__ import annotations

import contextlib
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.core.tokens import Masks


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        b, n, d = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


def pick(x: Tensor, index: Tensor) -> Tensor:
    return torch.gather(x, 1, index.unsqueeze(-1).repeat(1, 1, x.shape[-1]))


class Encoder(nn.Module):
    def __init__(self, side: int, patch: int, dim: int, depth: int, heads: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.pos = nn.Parameter(torch.randn(1, (side // patch) ** 2, dim), requires_grad=False)
        self.blocks = nn.ModuleList(Block(dim, heads, 4 * dim) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        x = self.patch(images).flatten(2).transpose(1, 2) + self.pos
        if keep is not None:
            x = pick(x, keep)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Predictor(nn.Module):
    def __init__(self, tokens: int, dim: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.embed, self.out = nn.Linear(dim, width), nn.Linear(width, dim)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos = nn.Parameter(torch.randn(1, tokens, width), requires_grad=False)
        self.blocks = nn.ModuleList(Block(width, heads, 4 * width) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: Tensor, context: Tensor, targets: list[Tensor]) -> Tensor:
        b, k = context.shape
        pos = self.pos.repeat(b, 1, 1)
        x = self.embed(x) + pick(pos, context)
        asked = torch.cat([pick(pos, t) for t in targets], dim=0) + self.token
        x = torch.cat([x.repeat(len(targets), 1, 1), asked], dim=1)
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x)[:, k:])


class ReferenceStep:
    """One training step; `device` and `bf16` as ours."""

    def __init__(
        self,
        *,
        side: int,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        predictor: tuple[int, int, int],
        device: torch.device,
        bf16: bool,
    ) -> None:
        width, predictor_depth, predictor_heads = predictor
        self.device, self.bf16 = device, bf16
        self.encoder = Encoder(side, patch, dim, depth, heads).to(device)
        tokens = (side // patch) ** 2
        self.predictor = Predictor(tokens, dim, width, predictor_depth, predictor_heads).to(device)
        self.target = copy.deepcopy(self.encoder).requires_grad_(False)
        named = [*self.encoder.named_parameters(), *self.predictor.named_parameters()]
        trained = [(name, p) for name, p in named if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for name, p in trained if p.ndim > 1 and "bias" not in name]},
                {
                    "params": [p for name, p in trained if p.ndim <= 1 or "bias" in name],
                    "weight_decay": 0.0,
                },
            ],
            lr=1e-3,
            weight_decay=0.04,
        )

    def __call__(self, images: Tensor, masks: Masks) -> float:
        targets = list(masks.targets.unbind(1))
        cast = (
            torch.autocast(self.device.type, torch.bfloat16)
            if self.bf16
            else contextlib.nullcontext()
        )
        with cast:
            with torch.no_grad():
                h = self.target(images)
                h = F.layer_norm(h, (h.shape[-1],))
                h = torch.cat([pick(h, t) for t in targets], dim=0)
            z = self.predictor(self.encoder(images, masks.context), masks.context, targets)
            loss = F.smooth_l1_loss(z, h)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        with torch.no_grad():
            for q, k in zip(self.encoder.parameters(), self.target.parameters(), strict=True):
                k.data.mul_(0.996).add_((1.0 - 0.996) * q.detach().data)
        return float(loss.detach())
