"""Weighted nearest neighbours by cosine similarity, the protocol of DINO (arXiv 2104.14294)."""

from __future__ import annotations

from typing import final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from jepa.core.interfaces import Protocol
from jepa.core.settings import positive

_CELLS = 2**24  # similarities held at once: 64 MiB of float32


@attrs.frozen(kw_only=True)
class KnnConfig:
    """Settings of the vote."""

    k: int = attrs.field(default=20, validator=positive)
    """Neighbours that vote; all of them where there are fewer."""
    temperature: float = attrs.field(default=0.07, validator=positive)
    """A neighbour of similarity s weighs exp(s / temperature)."""


@final
class Knn(Protocol):
    """Each test sample takes the class that its k nearest training samples vote for.

    It fits nothing and draws nothing, so the seed does not matter.
    """

    Config = KnnConfig

    def __init__(self, config: KnnConfig) -> None:
        self.config = config

    def evaluate(
        self, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], seed: int
    ) -> Tensor:
        """Whether each test sample was right: [m] bool (see `Protocol.evaluate`)."""
        features, labels = test
        return self.predict(train, features) == labels

    def predict(self, train: tuple[Tensor, Tensor], features: Tensor) -> Tensor:
        """Classes [m] int64 of features [m, D], from training features [n, D] and labels [n]."""
        known, labels = F.normalize(train[0].float(), dim=1), train[1]
        k = min(self.config.k, len(known))
        votes = F.one_hot(labels).float()  # [n, C]
        predicted = []
        for rows in torch.split(features.float(), max(1, _CELLS // len(known))):
            similarity, nearest = (F.normalize(rows, dim=1) @ known.T).topk(k)  # [b, k]
            weights = torch.exp(similarity / self.config.temperature)
            predicted.append(torch.einsum("bk,bkc->bc", weights, votes[nearest]).argmax(1))
        return torch.cat(predicted)
