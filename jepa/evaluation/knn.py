"""Weighted nearest neighbours by cosine similarity, the protocol of DINO (arXiv 2104.14294)."""

from __future__ import annotations

from typing import final

import attrs

from jepa.core.neighbours import votes
from jepa.core.probing import Pool, Predictions, Protocol, Samples
from jepa.core.settings import positive


@attrs.frozen(kw_only=True)
class KnnConfig:
    """Settings of the vote."""

    k: int = attrs.field(default=20, validator=positive)
    """Neighbours that vote; all of them where there are fewer."""
    temperature: float = attrs.field(default=0.07, validator=positive)
    """A neighbour of similarity s weighs exp(s / temperature)."""
    layers: int = attrs.field(default=1, validator=positive)
    """Last layers that are concatenated."""
    pool: Pool = "mean"
    """How the tokens of a layer become one vector (see `Samples.pooled`)."""


@final
class Knn(Protocol):
    """Each test sample takes the class that its k nearest training samples vote for.

    It fits nothing and draws nothing, so the seed does not matter.
    """

    Config = KnnConfig

    def __init__(self, config: KnnConfig) -> None:
        self.config = config

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes [1, m] (see `Protocol.predict`)."""
        config = self.config
        known, asked = (part.pooled(config.layers, config.pool) for part in (train, test))
        shares = votes(known, train.labels, asked, config.k, config.temperature)
        return Predictions(values=test.decide(shares)[None])
