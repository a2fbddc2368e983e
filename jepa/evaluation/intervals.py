"""How sure a score is: 95% intervals over test samples."""

from __future__ import annotations

import math

import attrs
import numpy as np
from torch import Tensor

from jepa.core.rng import SampleRng, Stream

_Z = 1.959963984540054  # the normal distribution's 97.5% point
_CELLS = 2**22  # resampled scores held at once: 32 MiB of float64


@attrs.frozen
class Interval:
    """An estimate and its 95% interval."""

    value: float
    low: float
    high: float


def wilson(value: float, n: int) -> Interval:
    """Wilson's score interval of a proportion of n samples.

    It stays honest near 0 and 1, where a bootstrap's interval shrinks to a point. For a mean over
    several encoders it is the wider, conservative side.
    """
    spread = _Z**2 / n
    centre = (value + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(value * (1 - value) / n + spread / (4 * n))
    return Interval(value, max(0.0, centre - half), min(1.0, centre + half))


def paired_bootstrap(
    scores: Tensor, reference: Tensor, seed: int, resamples: int = 2000
) -> Interval:
    """The mean difference of two scores of the same test samples, by percentile bootstrap.

    Args:
        scores: [m].
        reference: [m], in the same order.
        seed: of the resampling.
        resamples: how often.
    """
    return bootstrap(scores.double() - reference.double(), seed, resamples)


def bootstrap(scores: Tensor, seed: int, resamples: int = 2000) -> Interval:
    """The mean of scores of test samples, by percentile bootstrap.

    Args:
        scores: [m].
        seed: of the resampling.
        resamples: how often.
    """
    values = scores.double().cpu().numpy()
    m = len(values)
    rng = SampleRng(seed, 0, 1, Stream.EVALUATION)
    chunk = max(1, _CELLS // m)
    means: list[np.ndarray] = []
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = (rng.uniforms(rows * m) * m).astype(np.int64).reshape(rows, m)
        means.append(values[drawn].mean(1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
