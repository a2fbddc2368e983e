"""Rectangular blocks on a grid of any axes, placed for a whole batch at once.

Letters as in `jepa.core.tokens`; besides: n sides of the grid [A], G samples placed together.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_STEPS = 32
_HALVINGS = 50


class SizeTable:
    """The sides that a block can have, for equally likely steps of its scale and aspects.

    A block of scale s has sides n_k * s^(1/A) * stretch_k. The product of the stretches is 1; an
    aspect is the ratio of one axis's stretch to the geometric mean of the stretches of the axes
    after it. So two axes have one aspect, height to width on a square grid (the paper's); (t, y, x)
    has two, y to x and t to both; one axis has none. What a side of one token or of the whole grid
    takes from an axis goes to the others in equal shares, so the scale is kept.

    Scale and aspects are independent. Each takes 32 steps, the middles of equal parts of its range:
    so the sides are finitely many, and a sampler can prove its promises for every one of them.

    Args:
        shape: the grid's sides n.
        scale: lowest and highest share of the grid's tokens.
        aspect: lowest and highest aspect.
    """

    def __init__(
        self, shape: tuple[int, ...], scale: tuple[float, float], aspect: tuple[float, float]
    ) -> None:
        axes = len(shape)
        scales, *aspects = np.meshgrid(
            _middles(scale), *[_middles(aspect)] * (axes - 1), indexing="ij"
        )
        sides = _sides(shape, scales.ravel(), [a.ravel() for a in aspects])
        self._sides = sides
        self._strides = _STEPS ** np.arange(axes - 1, -1, -1)
        flat = np.ravel_multi_index(tuple(sides.T), tuple(n + 1 for n in shape))
        self.distinct: Ints = sides[np.unique(flat, return_index=True)[1]]
        """[n, A] every sides that can be drawn, once."""

    def pick(self, uniforms: Floats) -> Ints:
        """Sides [A] for uniforms [A]: scale first, then the aspects."""
        steps = (uniforms * _STEPS).astype(np.int64)
        chosen: Ints = self._sides[int(steps @ self._strides)]
        return chosen


def _middles(bounds: tuple[float, float]) -> Floats:
    low, high = bounds
    return low + (np.arange(_STEPS) + 0.5) / _STEPS * (high - low)


def _sides(shape: tuple[int, ...], scale: Floats, aspects: list[Floats]) -> Ints:
    """Sides [n, A] of blocks of scale [n] and aspects [n] each, rounded half up."""
    wanted = np.log(np.maximum(scale, 1 / math.prod(shape)))
    shares = wanted[:, None] / len(shape) + _log_stretches(aspects, len(scale))
    lowest = -np.log(np.array(shape, dtype=np.float64))
    tight = ((shares < lowest) | (shares > 0)).any(axis=1)
    shares[tight] = _clip_and_share(shares[tight], lowest, wanted[tight])
    # The tolerance makes a half a half whatever the last bits of the logarithms are.
    sides: Ints = np.floor(np.array(shape) * np.exp(shares) + 0.5 + 1e-9).astype(np.int64)
    return sides


def _clip_and_share(shares: Floats, lowest: Floats, wanted: Floats) -> Floats:
    """Clip logarithms [n, A] to `lowest` [A] and 0, each row shifted so that it sums to `wanted`.

    The clipped sum rises with the shift, so halving an interval finds it.
    """
    above = np.full(len(shares), np.abs(shares).max(initial=0) - lowest.min())
    below = -above
    for _ in range(_HALVINGS):
        middle = (below + above) / 2
        short = np.clip(shares + middle[:, None], lowest, 0).sum(axis=1) < wanted
        below, above = np.where(short, middle, below), np.where(short, above, middle)
    clipped: Floats = np.clip(shares + above[:, None], lowest, 0)
    return clipped


def _log_stretches(aspects: list[Floats], n: int) -> Floats:
    """Logarithms [n, A] that sum to 0, each less the mean of those after it being log aspect."""
    stretches = np.zeros((n, len(aspects) + 1))
    for axis, aspect in enumerate(aspects):
        after = len(aspects) - axis
        share = np.log(aspect) / (after + 1)
        stretches[:, axis] += after * share
        stretches[:, axis + 1 :] -= share[:, None]
    return stretches


def most_visible(shape: tuple[int, ...], context: Ints, target: Ints) -> Ints:
    """The most context tokens [...] that any places can leave: sides context, target [..., A].

    Every union of targets holds a whole target, and two blocks overlap at least by c + t - n along
    each axis. Opposite corners, with all targets at one place, reach this bound.
    """
    overlap = np.maximum(context + target - np.array(shape), 0)
    most: Ints = context.prod(axis=-1) - overlap.prod(axis=-1)
    return most


def strides(shape: tuple[int, ...]) -> Ints:
    """What one step along each axis adds to a flat index: [A]."""
    return np.array([math.prod(shape[axis + 1 :]) for axis in range(len(shape))], dtype=np.int64)


def corners(shape: tuple[int, ...], sides: Ints, uniforms: Floats) -> Ints:
    """Flat corners [G], uniform over all that leave room for the sides [A]: uniforms [G, A]."""
    room = np.array(shape) - sides + 1
    flat: Ints = (uniforms * room).astype(np.int64) @ strides(shape)
    return flat


def sides_text(sides: Ints) -> str:
    """Sides [A] as an error shows them: `3 x 4`."""
    return " x ".join(str(int(side)) for side in sides)


def block_offsets(shape: tuple[int, ...], sides: Ints) -> Ints:
    """Flat indices of a block's tokens less that of its corner: [T], ascending."""
    offsets: Ints = np.indices(tuple(sides)).reshape(len(shape), -1).T @ strides(shape)
    return offsets


def visible_places(size: int, context: Ints, targets: Ints) -> Bools:
    """Which places are context and no target: context [G, C], targets [G, M, T] -> [G, N]."""
    visible = np.zeros((len(context), size), dtype=np.bool_)
    flat = visible.reshape(-1)
    first = np.arange(0, flat.size, size)
    flat[context + first[:, None]] = True
    flat[targets + first[:, None, None]] = False
    return visible
