"""How sheets draw: pictures, heat maps and outlines on one plane, in units of tokens.

The plane is that of `jepa.core.pictures.plane`: previews are aligned with it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.path import Path
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.pictures import plane

ORANGE, GREEN = "#e69f00", "#009e73"
"""Of Okabe and Ito (2008), which colour-blind people tell apart."""

_AREA = 1.9  # square inches of one picture
_WIDEST = 4.5  # inches
_LOWEST = 0.45  # inches
_GAP = 0.12  # to the width of a picture
_LETTERS = 13.0  # of the text below, in an inch
_VEIL = (0.42, 0.47, 0.55, 1.0)
_STRIPE = (0.62, 0.67, 0.75, 1.0)
_STRIPES = 6  # dots of a token's side on the veil, of which one is striped
_EDGE = 0.7  # points, on both sides of an outline

Cells = npt.NDArray[Any]
"""Axes [rows, columns]."""


class Scale(NamedTuple):
    """Which values a sheet's heat maps show, and in which colours.

    Attributes:
        low: value of the first colour.
        high: value of the last colour.
        colours: name of a colour map.
        clipped: whether there are values above `high`, which the bar then says.
    """

    low: float
    high: float
    colours: str
    clipped: bool = False


def make(
    rows: int,
    columns: int,
    pictures: Tensor,
    title: str,
    reading: str,
    extra: float = 0.0,
    gap_before: int | None = None,
) -> tuple[Figure, Cells]:
    """A figure of cells of the shape of a picture, a title above and how to read it below.

    Args:
        rows: of cells.
        columns: of cells.
        pictures: [B, H, W, 3]; cells have their shape.
        title: what one sees.
        reading: how to read it.
        extra: inches of width besides the cells.
        gap_before: the column that stands a little apart from those before it.
    """
    height, width = pictures.shape[1:3]
    wide = min((_AREA * width / height) ** 0.5, _WIDEST)
    high = max(wide * height / width, _LOWEST)
    size = max(columns * (wide + 0.12) + 0.5 + extra, 7.0)
    figure = Figure(figsize=(size, rows * (high + 0.32)), dpi=130, layout="constrained")
    say(figure, title, reading)
    ratios = [1.0] * columns
    if gap_before is not None:
        ratios.insert(gap_before, _GAP)
    cells: Cells = figure.subplots(rows, len(ratios), squeeze=False, width_ratios=ratios)
    if gap_before is not None:
        for axis in cells[:, gap_before]:
            axis.remove()
        cells = np.delete(cells, gap_before, axis=1)
    for axis in cells.flat:
        axis.set(xticks=[], yticks=[])
        axis.set_box_aspect(high / wide)
    return figure, cells


def say(figure: Figure, title: str, reading: str) -> None:
    """Write a title above the cells and how to read them below; the figure grows by as much."""
    lines = ["", *even_lines(reading, round(figure.get_figwidth() * _LETTERS))]
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.supxlabel("\n".join(lines), fontsize=9.5)
    figure.set_figheight(figure.get_figheight() + 0.6 + 0.17 * len(lines))


def even_lines(text: str, width: int) -> list[str]:
    """Wrap into as few lines as `width` letters allow, all about as long."""
    lines = textwrap.wrap(text, width)
    while len(narrower := textwrap.wrap(text, width - 1)) == len(lines) and width > 2:
        lines, width = narrower, width - 1
    return lines


def said(figure: Figure) -> tuple[str, str]:
    """The title of a figure and how to read it, each on one line."""
    return figure.get_suptitle(), " ".join(figure.get_supxlabel().split())


def show(axis: Axes, picture: Tensor | npt.NDArray[np.float64], grid: Grid) -> None:
    """A picture [H, W, 3], enlarged without smoothing."""
    rows, cols = plane(grid).shape
    axis.imshow(
        np.asarray(picture), extent=(0, cols, rows, 0), aspect="auto", interpolation="nearest"
    )
    _separate(axis, grid)


def heat(axis: Axes, values: Tensor, grid: Grid, scale: Scale) -> None:
    """A heat map of one value a token [N]."""
    laid = values.numpy()[plane(grid).numpy()]
    rows, cols = laid.shape
    axis.imshow(
        laid, extent=(0, cols, rows, 0), aspect="auto", interpolation="nearest",
        cmap=scale.colours, vmin=scale.low, vmax=scale.high,
    )  # fmt: skip
    _separate(axis, grid)


def bar(figure: Figure, axes: Cells, scale: Scale, label: str) -> None:
    """The one colour bar of a sheet's heat maps, beside `axes`."""
    colours = ScalarMappable(Normalize(scale.low, scale.high), scale.colours)
    drawn = figure.colorbar(
        colours, ax=list(axes.flat), fraction=0.03, pad=0.01, aspect=30,
        extend="max" if scale.clipped else "neither",
    )  # fmt: skip
    drawn.set_label(f"{label}\n(top: {scale.high:.2g} or more)" if scale.clipped else label,
                    fontsize=9)  # fmt: skip
    drawn.ax.tick_params(labelsize=8)


def veil(axis: Axes, hidden: Iterable[int], grid: Grid) -> None:
    """Cover tokens; stripes tell the cover from any content."""
    covered = _on_plane(hidden, grid)
    fine = np.kron(covered, np.ones((_STRIPES, _STRIPES), dtype=np.bool_))
    diagonal = np.add.outer(np.arange(fine.shape[0]), np.arange(fine.shape[1])) % _STRIPES == 0
    colours = np.where(diagonal[..., None], _STRIPE, _VEIL)
    show(axis, np.where(fine[..., None], colours, 0.0), grid)


def outline(
    axis: Axes,
    tokens: Iterable[int],
    grid: Grid,
    colour: str,
    width: float = 1.6,
    edge: str = "white",
) -> None:
    """A frame around a set of tokens of any form. It covers nothing of them.

    At the border of the picture it is cut off.

    Args:
        axis: to draw on.
        tokens: to frame.
        grid: of the tokens.
        colour: of the frame.
        width: of the frame, in points.
        edge: colour of thin edges on both sides of the frame, so that it shows on any ground.
    """
    inside = _on_plane(tokens, grid)
    segments: list[list[tuple[int, int]]] = []
    for left in range(0, inside.shape[1], grid.shape[-1]):
        part = np.pad(inside[:, left : left + grid.shape[-1]], 1)
        across = np.argwhere(part[1:, 1:-1] != part[:-1, 1:-1])
        along = np.argwhere(part[1:-1, 1:] != part[1:-1, :-1])
        segments += [[(left + x, y), (left + x + 1, y)] for y, x in across.tolist()]
        segments += [[(left + x, y), (left + x, y + 1)] for y, x in along.tolist()]
    outside = _all_but(inside)
    for ink, reach in ((edge, width + 2 * _EDGE), (colour, width + _EDGE), (edge, _EDGE)):
        # Lines lie on the border of the tokens; the half inside is cut off.
        lines = LineCollection(segments, colors=ink, linewidths=2 * reach, capstyle="projecting")
        axis.add_collection(lines)
        lines.set_clip_path(outside, axis.transData)


def spot(axis: Axes, token: int, grid: Grid, colour: str) -> None:
    """A dashed frame just inside a token: the same spot as a mark elsewhere."""
    row, col = ((plane(grid) == token).nonzero()[0]).tolist()
    axis.add_patch(
        Rectangle((col, row), 1, 1, fill=False, edgecolor=colour, linewidth=1.0, linestyle="--")
    )


def zoom(axis: Axes, token: int, grid: Grid, around: int) -> None:
    """Show only a token and `around` tokens on each side, of its own slice; the rest is grey."""
    place = plane(grid)
    row, col = ((place == token).nonzero()[0]).tolist()
    if grid.ndim > 1:
        axis.set_ylim(row + around + 1, row - around)
    axis.set_xlim(col - around, col + around + 1)
    axis.set_facecolor("#d9d9d9")
    left = col // grid.shape[-1] * grid.shape[-1]
    for edge, start in ((left, 0), (left + grid.shape[-1], place.shape[1])):
        axis.axvspan(min(edge, start), max(edge, start), color="#d9d9d9", linewidth=0)


def _all_but(inside: npt.NDArray[np.bool_]) -> Path:
    """The plane without the tokens inside, which run the other way round and so are holes."""
    rows, cols = inside.shape
    codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY]
    corners = [(0, 0), (cols, 0), (cols, rows), (0, rows), (0, 0)]
    for y, x in np.argwhere(inside).tolist():
        corners += [(x, y), (x, y + 1), (x + 1, y + 1), (x + 1, y), (x, y)]
    return Path(corners, codes * (len(corners) // len(codes)))


def _on_plane(tokens: Iterable[int], grid: Grid) -> npt.NDArray[np.bool_]:
    flat = np.zeros(grid.size, dtype=np.bool_)
    flat[list(tokens)] = True
    laid: npt.NDArray[np.bool_] = flat[plane(grid).numpy()]
    return laid


def _separate(axis: Axes, grid: Grid) -> None:
    """Lines between slices that stand side by side."""
    for edge in range(grid.shape[-1], plane(grid).shape[1], grid.shape[-1]):
        axis.axvline(edge, color="white", linewidth=1.5)
