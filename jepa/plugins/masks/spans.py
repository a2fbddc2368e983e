"""Unions of spans along one axis (WavJEPA, arXiv 2509.23238)."""

from __future__ import annotations

from typing import final

import attrs
import numpy as np
import torch

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.settings import check, positive
from jepa.core.tokens import Masks
from jepa.plugins.masks.blocks import Bools, Floats
from jepa.plugins.masks.regions import Sites, axes_named, draw_until, intervals, refuse_many_axes
from jepa.plugins.masks.trim import Subset, trimmed_together

_share = check("above 0, at most 1", lambda v: 0 < v <= 1)


@final
class Spans(MaskSampler):
    """M targets, each a union of spans; the context is a union of spans minus all targets.

    Spans lie on one axis and go through all others. Their starts are drawn once a sample, uniform
    over all places at which a span fits, so spans overlap. How many spans a target or a context
    has follows from its share of the axis, without regard to overlaps.

    A sample left with too few context tokens gets new places, up to ten times. Should that fail,
    the spans of its context go side by side to one end of the axis, and those of its targets to the
    other. Nothing leaves more context than that, and the constructor refuses settings that leave
    too little even so.

    Unions differ in size. So contexts, and targets, are trimmed to the length of the shortest of
    their `trim_group` by a random subset of the places on the axis. One unlucky sample sets the
    length of its group, so large groups keep far fewer tokens than a sample has.

    Raises:
        ConfigError: settings that this grid cannot satisfy, with the numbers that clash.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the defaults are WavJEPA's, but for `trim_group`."""

        axis: str | None = None
        """The axis that spans lie on; None: the grid's first."""
        length: int = attrs.field(default=10, validator=positive)
        """Places of a span."""
        num_targets: int = attrs.field(default=4, validator=positive)
        """Targets M of a sample."""
        target_share: float = attrs.field(default=0.25, validator=_share)
        """What the spans of one target would hold of the axis, if none overlapped."""
        context_share: float = attrs.field(default=0.65, validator=_share)
        """The same of the context, before targets are taken out."""
        min_keep: int = attrs.field(default=10, validator=positive)
        """Context tokens that every sample keeps at least."""
        trim_group: int | None = attrs.field(default=None, validator=positive)
        """Places of the global batch that are trimmed to one length; None: all of them."""

    def __init__(self, config: Config, *, grid: Grid) -> None:
        refuse_many_axes(grid, "spans")
        axis = grid.axes[0] if config.axis is None else config.axis
        axes_named(grid, [axis], "axis", "spans")
        self._config = config
        self._sites = Sites(grid, [name for name in grid.axes if name != axis])
        self._size = self._sites.grid.size
        if config.length > self._size:
            raise ConfigError(
                Fault(
                    "length",
                    f"found {config.length}, allowed: at most {self._size}, the places on the axis "
                    f"{axis} of the grid {grid}",
                ),
                "spans",
            )
        self._subset = Subset(self._sites.grid)
        self._of_target = self._spans(config.target_share)
        self._of_context = self._spans(config.context_share)
        self._least = self._sites.for_tokens(config.min_keep)
        self._refuse_impossible(grid, axis)

    def _spans(self, share: float) -> int:
        """Spans that hold so much of the axis, one at least, rounded half up."""
        return max(1, int(share * self._size / self._config.length + 0.5))

    def _refuse_impossible(self, grid: Grid, axis: str) -> None:
        length = self._config.length
        # A union of targets holds a whole span.
        left = min(self._of_context * length, self._size - length)
        if left < self._least:
            raise ConfigError(
                f"on the grid {grid} {self._of_context} spans of {length} for the context "
                f"(context_share {self._config.context_share:g}) and {length} places or more for "
                f"the targets leave at most {left * self._sites.depth} context tokens, wherever on "
                f"the axis {axis} they lie, and min_keep asks for {self._config.min_keep}; lower "
                "min_keep or length, or raise context_share",
                "spans",
            )

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return self._config.trim_group

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T]."""
        # A sample's context and targets are trimmed by one order of the places, so that a run with
        # more targets shares what a run with fewer draws.
        trims = rng.rows(self._size).numpy()
        group, own = trimmed_together(rng, self._config.trim_group)
        regions = self._draw_regions(group)
        context, targets = _visible(regions), regions[:, 1:]
        return Masks(
            self._trimmed(context[own], trims, int(context.sum(axis=-1).min())),
            self._trimmed(targets[own], trims[:, None], int(targets.sum(axis=-1).min())),
        )

    def _trimmed(self, places: Bools, uniforms: Floats, keep: int) -> torch.Tensor:
        """Tokens [..., keep * depth] of places [..., n] on the axis."""
        rows = np.broadcast_to(uniforms, places.shape).reshape(-1, self._size)
        chosen = self._subset.chosen(places.reshape(-1, self._size), rows, keep)
        return torch.from_numpy(self._sites.tokens(chosen.reshape(places.shape), keep))

    def _draw_regions(self, rng: Rng) -> Bools:
        """Places [G, 1 + M, n] of the context before targets are taken out, and of each target."""
        return draw_until(
            lambda: self._anywhere(rng),
            lambda: self._apart(rng),
            lambda regions: _visible(regions).sum(axis=1) >= self._least,
        )

    def _anywhere(self, rng: Rng) -> Bools:
        counts = [self._of_context, *[self._of_target] * self._config.num_targets]
        return np.stack([self._union(rng.rows(count).numpy()) for count in counts], axis=1)

    def _union(self, uniforms: Floats) -> Bools:
        """Spans that start anywhere: uniforms [G, spans] -> places [G, n]."""
        length = self._config.length
        starts = (uniforms * (self._size - length + 1)).astype(np.int64)
        together: Bools = np.any(intervals(self._size, starts, length), axis=1)
        return together

    def _apart(self, rng: Rng) -> Bools:
        """Each context at a random end of the axis, its targets at the other."""
        length = self._config.length
        shape = (rng.batch_size, 1 + self._config.num_targets, self._size)
        regions: Bools = np.zeros(shape, dtype=np.bool_)
        regions[:, 0, : self._of_context * length] = True
        regions[:, 1:, -length:] = True
        turned = rng.rows(1).numpy()[:, 0] < 0.5
        regions[turned] = regions[turned][..., ::-1]
        return regions


def _visible(regions: Bools) -> Bools:
    """Places [G, n] that are context and no target, of regions [G, 1 + M, n]."""
    visible: Bools = regions[:, 0] & ~regions[:, 1:].any(axis=1)
    return visible
