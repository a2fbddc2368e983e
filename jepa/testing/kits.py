"""Which checks each kind of part gets."""

from __future__ import annotations

from typing import Literal

import attrs

from jepa.testing import (
    common,
    encoders,
    masks,
    modalities,
    objectives,
    observers,
    predictors,
    protocols,
    regularizers,
    sources,
    targets,
    tokenizers,
)
from jepa.testing.promises import Promise

Over = Literal["grids", "specs", ""]


@attrs.frozen
class Kit:
    """The checks of a kind.

    Args:
        over: what the part is tried on: each grid, each kind of input, or nothing of the sort.
        promises: in the order in which failures are best read.
    """

    over: Over
    promises: tuple[Promise, ...]


_KITS: dict[str, tuple[Over, tuple[Promise, ...]]] = {
    "modality": ("", modalities.PROMISES),
    "tokenizer": ("specs", tokenizers.PROMISES),
    "mask_sampler": ("grids", masks.PROMISES),
    "encoder": ("grids", encoders.PROMISES),
    "predictor": ("grids", predictors.PROMISES),
    "target_updater": ("", targets.PROMISES),
    "objective": ("", objectives.PROMISES),
    "regularizer": ("", regularizers.PROMISES),
    "source": ("", sources.PROMISES),
    "protocol": ("", protocols.PROMISES),
    "observer": ("", observers.PROMISES),
}


def load(kind: str) -> Kit:
    """The checks of a kind, those of every part first."""
    over, promises = _KITS[kind]
    return Kit(over, (*common.PROMISES, *promises))
