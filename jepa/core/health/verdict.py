"""The verdict: how a run stands, in words."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import attrs


class Kind(enum.Enum):
    """What a verdict says; the value is its name in files."""

    WARMING_UP = "warming up"
    LEARNING = "learning"
    HARDER = "loss rising while the features improve"
    MEAN = "predictor no better than the mean"
    COLLAPSING = "collapsing"
    COLLAPSED = "collapsed"
    DIVERGING = "diverging"

    @property
    def alarm(self) -> bool:
        """Whether the run is lost unless something changes."""
        return self in (Kind.COLLAPSING, Kind.COLLAPSED, Kind.DIVERGING)


@attrs.frozen
class Verdict:
    """How a run stands.

    Args:
        kind: the finding.
        sentence: the finding for people, with numbers where something is wrong; it begins with
            the kind's words.
        hint: what to try; empty where nothing is wrong.
        evidence: the numbers that it rests on.
    """

    kind: Kind
    sentence: str
    hint: str
    evidence: Mapping[str, float]

    @property
    def advice(self) -> str:
        """The sentence, and what to try."""
        return f"{self.sentence}; {self.hint}" if self.hint else self.sentence
