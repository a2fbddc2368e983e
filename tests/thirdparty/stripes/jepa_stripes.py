"""A mask sampler of somebody else's: every second token is context, the others are targets."""

import attrs
import torch
from einops import rearrange

from jepa.core import ConfigError, Grid, Masks, MaskSampler, Rng, positive


class Stripes(MaskSampler):
    """Shows the even places of the grid, in C order, and hides the odd ones in equal blocks."""

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings of Stripes."""

        blocks: int = attrs.field(default=2, validator=positive)
        """Target blocks M; odd places that do not fill the last block are left out."""

    def __init__(self, config: Config, grid: Grid) -> None:
        odd = torch.arange(1, grid.size, 2)
        length = len(odd) // config.blocks
        if length == 0:
            raise ConfigError(
                f"blocks: found {config.blocks}, but {grid} has {len(odd)} odd places"
            )
        self._context = torch.arange(0, grid.size, 2)
        self._targets = rearrange(odd[: config.blocks * length], "(m t) -> m t", t=length)

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Context [B, ceil(N/2)] and targets [B, M, T], the blocks of each row in random order."""
        order = rng.rows(len(self._targets)).argsort(dim=1)
        return Masks(self._context.expand(batch_size, -1).clone(), self._targets[order])
