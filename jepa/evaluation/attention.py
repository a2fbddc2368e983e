"""The network of the attentive probe: one learned query gathers what it needs from the tokens.

Letters: b samples, N tokens, P features of a token, D width, H heads, d = D / H, C classes.
"""

from __future__ import annotations

from typing import final

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

_STD = 0.02
_EPS = 1e-6


@final
class AttentiveProbe(nn.Module):
    """A pre-norm cross-attention block with one query, then a linear classifier.

    V-JEPA, arXiv 2404.08471: x = q + attention(q, norm(tokens)), x = x + mlp(norm(x)),
    logits = linear(x). Keys and values take tokens of any width P to the
    width D, so candidates of odd widths need no layer of their own.

    Args:
        features: width P of the tokens.
        dim: width D of the block.
        heads: H, which divides D.
        hidden: width of the MLP.
        classes: C.
    """

    def __init__(self, *, features: int, dim: int, heads: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, dim))
        self.norm1 = nn.LayerNorm(features, eps=_EPS)
        self.q = nn.Linear(dim, dim)
        # A bias of the keys would add the same to the score of every token.
        self.k = nn.Linear(features, dim, bias=False)
        self.v = nn.Linear(features, dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=_EPS)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.head = nn.Linear(dim, classes)
        self._initialise()

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [b, N, P] -> logits [b, C]."""
        x = self.query + self.attend(self.norm1(tokens))
        x = x + self.mlp(self.norm2(x))
        return self.head(x)  # type: ignore[no-any-return]

    def attend(self, tokens: Tensor) -> Tensor:
        """Multi-head attention of the query to normed tokens: [b, N, P] -> [b, D].

        All samples share the query, so the keys' matrix folds into it, and the values' matrix
        waits until the tokens are summed. That is the same function without a product of every
        token with a P x D matrix.
        """
        query = rearrange(self.q(self.query), "1 (H d) -> H d", H=self.heads)
        keys, values = (
            rearrange(part.weight, "(H d) P -> H d P", H=self.heads) for part in (self.k, self.v)
        )
        asked = einsum(query, keys, "H d, H d P -> H P") * query.shape[1] ** -0.5
        weights = rearrange(tokens @ asked.T, "b N H -> b H N").softmax(-1)
        gathered = einsum(weights @ tokens, values, "b H P, H d P -> b H d")
        return self.proj(rearrange(gathered, "b H d -> b (H d)") + self.v.bias)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _initialise(self) -> None:
        nn.init.trunc_normal_(self.query, std=_STD)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=_STD)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
