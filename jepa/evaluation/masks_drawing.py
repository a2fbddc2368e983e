"""How masks are drawn: inputs with a veil over what is hidden, outlines of targets, heat maps.

Everything lies on the plane of `jepa.core.pictures.plane`, in units of tokens.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.pictures import plane

Bools = npt.NDArray[np.bool_]

_FLATTEST, _TALLEST = 0.25, 2.5
"""Height to width of a heat map, at least and at most."""

_VEIL = (0.42, 0.47, 0.55, 0.86)
_STRIPE = (0.62, 0.67, 0.75, 0.9)
_STRIPES = 6  # pixels of a token's side on the veil, of which one is striped
# Okabe and Ito (2008): colours that colour-blind people tell apart.
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")


def show(
    axes: Axes, picture: npt.NDArray[np.uint8], grid: Grid, shown: Bools | None
) -> None:  # fmt: skip
    """A picture, with a veil over what is not shown [rows, cols]."""
    rows, cols = plane(grid).shape
    extent = (0, cols, rows, 0)
    axes.imshow(picture, extent=extent, aspect="auto", interpolation="nearest")
    if shown is not None:
        axes.imshow(_veil(~shown), extent=extent, aspect="auto", interpolation="nearest")
    axes.set_box_aspect(picture.shape[0] / picture.shape[1])
    _separate(axes, grid, "white")
    axes.set_xticks([])
    axes.set_yticks([])


def _veil(hidden: Bools) -> npt.NDArray[np.float64]:
    """Colours [h, w, 4] for hidden tokens [rows, cols]; stripes tell them from any content."""
    fine = np.kron(hidden, np.ones((_STRIPES, _STRIPES), dtype=np.bool_))
    diagonal = np.add.outer(np.arange(fine.shape[0]), np.arange(fine.shape[1])) % _STRIPES == 0
    colours = np.where(diagonal[..., None], _STRIPE, _VEIL)
    return np.where(fine[..., None], colours, 0.0)


def map_ratio(ratio: float) -> float:
    """Height to width of a heat map over pictures of that ratio: no strip in either direction."""
    return min(max(ratio, _FLATTEST), _TALLEST)


def heat_map(
    figure: Figure | SubFigure, axes: Axes, share: Tensor, grid: Grid, ratio: float, title: str,
    most: float | None = None,
) -> None:  # fmt: skip
    """A heat map of shares [N] that starts at 0, so that what is never picked is black.

    It ends at `most`, so that maps can be compared; None: at the greatest share.
    """
    values = share.numpy()[plane(grid).numpy()]
    rows, cols = values.shape
    image = axes.imshow(
        values, extent=(0, cols, rows, 0), aspect="auto", cmap="magma", vmin=0,
        vmax=max(float(values.max()), 1e-9) if most is None else most,
    )  # fmt: skip
    axes.set_box_aspect(map_ratio(ratio))
    axes.set_title(title, fontsize=9)
    slices = " x ".join(grid.axes[:-2])
    beside = f" (slices of {slices} side by side)" if slices else ""
    axes.set_xlabel(grid.axes[-1] + beside, fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if grid.ndim > 1:
        axes.set_ylabel(grid.axes[-2], fontsize=9)
    else:
        axes.set_yticks([])
    axes.tick_params(labelsize=8)
    _separate(axes, grid, "white")
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.03)
    bar.set_label("share of samples", fontsize=8)
    bar.ax.tick_params(labelsize=8)


def _separate(axes: Axes, grid: Grid, colour: str) -> None:
    """Lines between slices that stand side by side."""
    for edge in range(grid.shape[-1], plane(grid).shape[1], grid.shape[-1]):
        axes.axvline(edge, color=colour, linewidth=1.5)


def outlines(axes: Axes, blocks: Bools, grid: Grid) -> None:
    """The borders of target blocks [M, rows, cols], each in a colour of its own."""
    for place, block in enumerate(blocks):
        # Later lines are thinner, so that edges at one place all show.
        thickness = 1.4 + 1.1 * min(len(blocks) - 1 - place, 3)
        _outline(axes, block, grid, _COLOURS[place % len(_COLOURS)], thickness)


def planes(index: Tensor, grid: Grid) -> Bools:
    """Places [M, T] as masks on the plane [M, rows, cols]."""
    flat = np.zeros((len(index), grid.size), dtype=np.bool_)
    np.put_along_axis(flat, index.numpy(), True, axis=1)
    masks: Bools = flat[:, plane(grid).numpy()]
    return masks


def _outline(axes: Axes, block: Bools, grid: Grid, colour: str, thickness: float) -> None:
    """The border of a mask [rows, cols] of any form, slice by slice."""
    segments: list[list[tuple[int, int]]] = []
    width = grid.shape[-1]
    for left in range(0, block.shape[1], width):
        inside = np.pad(block[:, left : left + width], 1)
        across = np.argwhere(inside[1:, 1:-1] != inside[:-1, 1:-1])
        along = np.argwhere(inside[1:-1, 1:] != inside[1:-1, :-1])
        segments += [[(left + x, y), (left + x + 1, y)] for y, x in across.tolist()]
        segments += [[(left + x, y), (left + x, y + 1)] for y, x in along.tolist()]
    lines = LineCollection(segments, colors=colour, linewidths=thickness, capstyle="projecting")
    lines.set_clip_on(False)
    axes.add_collection(lines)
