"""Few labels: another protocol on small draws of the training samples, several times."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import final

import attrs
import numpy as np
import torch
from torch import Tensor

from jepa.core import registry
from jepa.core.errors import ConfigError, Fault
from jepa.core.parts import Part
from jepa.core.probing import Predictions, Protocol, Samples
from jepa.core.rng import SampleRng, Stream
from jepa.core.settings import FieldError, ProtocolPart, check, positive

_SHARE = 0.01  # the paper's


def _logistic() -> Part:
    plugin = registry.find("protocol", "logistic")
    return Part("protocol", "logistic", registry.load(plugin).Config(), plugin)


@attrs.frozen(kw_only=True)
class LowShotConfig:
    """Which few labels, how often, and what is fitted to them."""

    probe: ProtocolPart = attrs.field(factory=_logistic)
    """The protocol that is fitted to each draw: logistic, or {name: finetune} as in the paper."""
    share: float | None = attrs.field(
        default=None, validator=check("above 0, at most 1", lambda v: 0 < v <= 1)
    )
    """Share of the training samples; null: 0.01, or what `per_class` says."""
    per_class: int | None = attrs.field(default=None, validator=positive)
    """Training samples of each class, in place of a share."""
    draws: int = attrs.field(default=5, validator=positive)
    """Draws that the score is averaged over."""

    def __attrs_post_init__(self) -> None:
        if self.share is not None and self.per_class is not None:
            raise FieldError(
                "per_class",
                f"found {self.per_class} beside share = {self.share:g}, allowed: one of the two",
            )
        if isinstance(self.probe.config, LowShotConfig):
            raise FieldError("probe", "found 'lowshot', allowed: a protocol other than this one")


@final
class LowShot(Protocol):
    """Labels are few: a probe is fitted to small draws of the training samples.

    The parts of a sample are drawn together, and are one label. Each draw is independent of the
    others and a function of (labels, seed, draw), so all candidates get the same samples and their
    differences are paired. The probe's own seed is seed + draw.
    """

    Config = LowShotConfig

    def __init__(self, config: LowShotConfig) -> None:
        self.config = config
        self._probe: Protocol = config.probe.cls(config.probe.config)

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """What the probe says after each draw: [draws, m] (see `Protocol.predict`).

        Raises:
            ConfigError: a class has fewer samples than `per_class`.
        """
        _, first, whole = np.unique(train.wholes.numpy(), return_index=True, return_inverse=True)
        labels = train.labels[torch.from_numpy(first)]
        sizes = self._sizes(labels, train.classes)
        said = []
        for number in range(self.config.draws):
            drawn = draw_samples(labels, sizes, seed, number)
            places = torch.from_numpy(np.flatnonzero(np.isin(whole, drawn.numpy())))
            said.append(self._probe.predict(train.take(places), test, seed + number))
        few: dict[str, float | str] = {"probe": self.config.probe.name, "labels": int(sizes.sum())}
        return Predictions(
            values=torch.cat([each.values for each in said]),
            quantity=said[0].quantity,
            details={**few, **_joined([each.details for each in said])},
        )

    def _sizes(self, labels: Tensor, classes: Sequence[str]) -> Tensor:
        """Samples to draw of each class: [C] int64.

        A share of a class is rounded to the nearest whole number, a half up, and is at least one
        where the class has any.
        """
        present = torch.bincount(labels, minlength=len(classes))
        wanted = self.config.per_class
        if wanted is None:
            share = self.config.share or _SHARE
            rounded = [math.floor(share * n + 0.5) for n in present.tolist()]
            return torch.tensor(rounded).clamp(min=1).minimum(present)
        there = torch.where(present > 0, present, wanted)  # a class without samples has no say
        if wanted > there.min():
            least = int(there.argmin())
            found = f"found {wanted}, allowed: at most {present[least]}"
            raise ConfigError(
                Fault("per_class", f"{found}, the training samples of the class '{classes[least]}'")
            )
        return torch.full_like(present, wanted).minimum(present)


def draw_samples(labels: Tensor, sizes: Tensor, seed: int, number: int) -> Tensor:
    """Places of a random subset with so many samples of each class, ascending: [k] int64.

    Args:
        labels: [n] int64.
        sizes: of the classes, [C].
        seed: of the draws.
        number: of the draw; draws are independent.
    """
    # One further than `number`: probes draw at 0 what they hold out.
    drawn = SampleRng(seed, number + 1, 0, Stream.EVALUATION).uniforms(len(labels))
    shuffled = torch.from_numpy(np.lexsort((drawn, labels.cpu().numpy())))
    of = labels.cpu()[shuffled]  # classes one after the other
    starts = torch.bincount(of, minlength=len(sizes)).cumsum(0).roll(1)
    starts[0] = 0
    rank = torch.arange(len(of)) - starts[of]
    return shuffled[rank < sizes[of]].sort().values


def _joined(details: Sequence[Mapping[str, float | str]]) -> dict[str, float | str]:
    """Details of all draws: what they agree on, or else the values one after the other."""

    def joined(key: str) -> float | str:
        values = [each[key] for each in details]
        if all(value == values[0] for value in values):
            return values[0]
        return ", ".join(v if isinstance(v, str) else f"{v:.4g}" for v in values)

    return {key: joined(key) for key in details[0]}
