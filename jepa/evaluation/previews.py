"""Pictures of a source's samples, for people."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa.core.data.source import Source
from jepa.core.errors import DataError, DecodeError
from jepa.core.grid import Grid
from jepa.core.modality import Modality
from jepa.core.pictures import pictured


def previews(source: Source, modality: Modality, samples: int, grid: Grid) -> Tensor:
    """Pictures [n, H, W, 3] uint8 of samples spread over the source.

    Args:
        source: of the samples.
        modality: that decodes and shows them.
        samples: wanted; fewer where the source has fewer or some cannot be decoded.
        grid: of the tokens, that the pictures lie on.

    Raises:
        DataError: none of the samples can be decoded.
    """
    inputs, failures = [], []
    samples = min(samples, len(source))
    for place in range(samples):
        try:
            content = source.item(place * len(source) // samples).content
            inputs.append(modality.eval_input(content))
        except DecodeError as error:
            failures.append(error)
    if not inputs:
        raise DataError(f"none of {len(failures)} samples can be decoded: {failures[0]}")
    return pictured(modality, torch.stack(inputs), grid)
