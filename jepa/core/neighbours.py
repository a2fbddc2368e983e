"""Nearest neighbours by cosine similarity: who they are, and what they vote for."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

_CELLS = 2**24  # similarities held at once: 64 MiB of float32


def nearest(known: Tensor, asked: Tensor, k: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The k rows of `known` that are most alike, for chunks of the rows of `asked`, in order.

    Args:
        known: features [n, D].
        asked: features [m, D].
        k: neighbours; all of them where there are fewer.

    Yields:
        (similarity [b, k] float32 in [-1, 1], index [b, k] int64 into `known`), the nearest first.
    """
    normal = F.normalize(known.float(), dim=1)
    k = min(k, len(normal))
    for rows in torch.split(asked.float(), max(1, _CELLS // len(normal))):
        similarity, index = (F.normalize(rows, dim=1) @ normal.T).topk(k)
        yield similarity, index


def votes(known: Tensor, labels: Tensor, asked: Tensor, k: int, temperature: float) -> Tensor:
    """Shares of the votes of the k nearest rows, each with exp(similarity / temperature).

    The protocol of DINO (arXiv 2104.14294).

    Args:
        known: features [n, D].
        labels: of them, [n] int64.
        asked: features [m, D].
        k: neighbours that vote.
        temperature: above 0.

    Returns:
        Of C classes: [m, C] float32, of sum 1.
    """
    of_class = F.one_hot(labels).float()  # [n, C]
    found = []
    for similarity, index in nearest(known, asked, k):
        weights = torch.softmax(similarity / temperature, dim=1)
        found.append(torch.einsum("bk,bkc->bc", weights, of_class[index]))
    return torch.cat(found)
