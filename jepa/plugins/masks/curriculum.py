"""From one sampler to another over training (A-JEPA, arXiv 2311.15830)."""

from __future__ import annotations

from typing import final

import attrs

from jepa.core import registry
from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.parts import Part
from jepa.core.rng import Rng
from jepa.core.settings import FieldError, MaskSamplerPart, fraction
from jepa.core.tokens import Masks


def _multiblock() -> Part:
    return _part("multiblock")


def _time_frequency() -> Part:
    return _part("time_frequency")


def _part(name: str) -> Part:
    plugin = registry.find("mask_sampler", name)
    return Part("mask_sampler", name, registry.load(plugin).Config(), plugin)


@final
class Curriculum(MaskSampler):
    """Each step has the masks of one of two samplers, of the last one ever oftener.

    The chance of the last rises from 0 to 1, linearly between two moments of the schedule; one draw
    decides for all samples of a step, so the work stays equal. The two may differ in M, T and K.

    Raises:
        ConfigError: what one of the two refuses, or they are trimmed in different groups.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Settings; the default samplers are A-JEPA's."""

        first: MaskSamplerPart = attrs.field(factory=_multiblock)
        """The sampler that training begins with."""
        last: MaskSamplerPart = attrs.field(factory=_time_frequency)
        """The sampler that training ends with."""
        begin: float = attrs.field(default=0.0, validator=fraction)
        """Share of the schedule until which `first` has every step."""
        end: float = attrs.field(default=1.0, validator=fraction)
        """Share of the schedule from which on `last` has every step."""

        def __attrs_post_init__(self) -> None:
            if self.end < self.begin:
                raise FieldError(
                    "end", f"found {self.end:g}, allowed: begin = {self.begin:g} or more"
                )

    def __init__(self, config: Config, *, grid: Grid) -> None:
        self._config = config
        self._first = _made("first", config.first, grid)
        self._last = _made("last", config.last, grid)
        # None binds nobody: such a sampler needs no group, or draws the whole batch anyway.
        groups = {group for s in (self._first, self._last) if (group := s.trim_group) is not None}
        if len(groups) > 1:
            raise ConfigError(
                f"first has trim_group {self._first.trim_group} and last "
                f"{self._last.trim_group}, allowed: one group for both",
                "curriculum",
            )
        self._group = groups.pop() if groups else None

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return self._group

    def chance_of_last(self, progress: float) -> float:
        """The chance that a step has the masks of `last`, at a share of the schedule."""
        begin, end = self._config.begin, self._config.end
        if progress >= end:
            return 1.0
        return (progress - begin) / (end - begin) if progress > begin else 0.0

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of one step: context [B, K], targets [B, M, T]; M, K and T are the sampler's."""
        late = rng.shared(1).item() < self.chance_of_last(rng.progress)
        return (self._last if late else self._first).sample(batch_size, rng)


def _made(setting: str, part: Part, grid: Grid) -> MaskSampler:
    """One of the two; what it refuses is told below its setting."""
    try:
        sampler: MaskSampler = part.cls(part.config, grid=grid)
    except ConfigError as error:
        faults = [Fault(f"{setting}.{f.path}".rstrip("."), f.message) for f in error.faults]
        raise ConfigError(faults, "curriculum") from error
    return sampler
