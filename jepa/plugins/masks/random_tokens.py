"""A random share of the tokens as the target (the ablation of I-JEPA, arXiv 2301.08243, table 6).

Audio-JEPA hides 40 to 60% so.
"""

from __future__ import annotations

from typing import Any, final

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import check
from jepa.core.tokens import Masks
from jepa.plugins.masks.regions import refuse_many_axes
from jepa.plugins.masks.trim import Subset, places_of


def _is_ratio(value: Any) -> bool:
    low, high = value if isinstance(value, tuple) else (value, value)
    return bool(0 < low <= high < 1)


@final
class RandomTokens(MaskSampler):
    """One target (M = 1) of tokens picked at random, and all others as the context.

    How many is drawn once a step, which ones once a sample; every choice is as likely as any other.
    For one seed and step a greater ratio hides what a smaller one hides, and more.

    Raises:
        ConfigError: a ratio leaves no context or no target on this grid.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the default is that of the paper's ablation."""

        ratio: float | tuple[float, float] = attrs.field(
            default=0.6,
            validator=check("a share between 0 and 1, or two of them, low <= high", _is_ratio),
        )
        """Share of the tokens that is hidden: a number, or the lowest and highest that a step
        draws."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "random")
        ratio = config.ratio
        self._ratio = ratio if isinstance(ratio, tuple) else (ratio, ratio)
        self._size = grid.size
        self._subset = Subset(grid)
        for share in self._ratio:
            if not 0 < self._hidden(share) < grid.size:
                raise ConfigError(
                    Fault(
                        "ratio",
                        f"on the grid {grid} {share:g} of {grid.size} tokens is "
                        f"{self._hidden(share)}, allowed: 1 to {grid.size - 1} tokens",
                    ),
                    "random",
                )

    def _hidden(self, share: float) -> int:
        """Tokens of the target, rounded half up."""
        return int(share * self._size + 0.5)

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, 1, T]."""
        uniforms = rng.rows(self._size).numpy()
        low, high = self._ratio
        hidden = self._hidden(low + (high - low) * rng.shared(1).item())
        all_of_them = np.ones((batch_size, self._size), dtype=np.bool_)
        target = self._subset.chosen(all_of_them, uniforms, hidden)
        return Masks(
            torch.from_numpy(places_of(~target, self._size - hidden)),
            torch.from_numpy(places_of(target, hidden)[:, None]),
        )
