"""Mean and deviation of what a model sees of a data set."""

from __future__ import annotations

import math

import numpy as np
import torch

from jepa.core.data.source import Source
from jepa.core.errors import DataError, DecodeError
from jepa.core.modality import Modality

_CLIPS = 256


def mean_and_std(source: Source, modality: Modality) -> tuple[float, float]:
    """Of all prepared values of up to 256 samples, spread over the source; four digits of each.

    Four digits are more than a network notices, and the same on every machine.

    Args:
        source: of the training samples.
        modality: prepares them, not normalised.

    Raises:
        DataError: none of them can be decoded.
    """
    prepare = modality.device_transform()
    count, total, squares = 0, 0.0, 0.0
    reason = ""
    n = min(_CLIPS, len(source))
    for index in np.arange(n) * len(source) // n:
        try:
            item = source.item(int(index))
            loaded = modality.eval_input(item.content)
        except (DecodeError, OSError) as error:
            reason = str(error)
            continue
        with torch.inference_mode():
            values = prepare(loaded[None]).double()
        count += values.numel()
        total += float(values.sum())
        squares += float(values.square().sum())
    if not count:
        raise DataError(f"none of {n} samples can be decoded, so nothing is measured: {reason}")
    mean = total / count
    std = math.sqrt(max(squares / count - mean**2, 0.0))
    return _rounded(mean), max(_rounded(std), 1e-6)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
