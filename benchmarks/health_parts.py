"""A predictor for runs that are meant to collapse. `benchmarks/health.py` registers it."""

from __future__ import annotations

import attrs
from einops import reduce, repeat
from torch import Tensor, nn

from jepa.core import Grid, Predictor, Query, Tokens


class Identity(Predictor):
    """Says the mean token of the context everywhere: nothing stands between the two encoders.

    What SimSiam's ablation calls no predictor (arXiv 2011.10566, section 4.2): it collapses.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Nothing to set."""

    def __init__(
        self, config: Config, *, grid: Grid, dim: int, target_dim: int, views: int
    ) -> None:
        super().__init__()
        self.map = nn.Identity() if dim == target_dim else nn.Linear(dim, target_dim)

    def forward(self, context: Tokens, query: Query) -> Tensor:
        """data [b, K, D], query [b, T, A] -> [b, T, D_target]."""
        mean = reduce(self.map(context.data), "b K D -> b D", "mean")
        return repeat(mean, "b D -> b T D", T=query.coords.shape[1])
