"""The picture of `jepa masks`: a sheet of samples on the left, coverage of the grid on the right.

Everything is drawn on the plane of `jepa.core.pictures.plane`, in units of tokens.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from jepa.core.coverage import Coverage
from jepa.core.grid import Grid
from jepa.core.pictures import plane
from jepa.core.tokens import Masks

Bools = npt.NDArray[np.bool_]

_AREA = 2.6  # square inches of one picture
_WIDEST = 5.0  # inches
_FLATTEST = 0.25  # height to width of a heat map
_VEIL = (0.42, 0.47, 0.55, 0.86)
_STRIPE = (0.62, 0.67, 0.75, 0.9)
_STRIPES = 6  # pixels of a token's side on the veil, of which one is striped
# Okabe and Ito (2008): colours that colour-blind people tell apart.
_COLOURS = ("#e69f00", "#56b4e9", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2")


@attrs.frozen
class View:
    """What is shown of one mask sampler: masks of the first samples, and its statistics."""

    name: str
    masks: Masks
    coverage: Coverage


def draw(pictures: Tensor, grid: Grid, views: list[View], output: Path) -> None:
    """Write the picture.

    Args:
        pictures: uint8 [n, H, W, 3], previews of samples.
        grid: of the tokens.
        views: with masks of at least n samples each.
        output: the file; its ending picks the format.
    """
    samples, height, width = pictures.shape[:3]
    cell_wide = min((_AREA * width / height) ** 0.5, _WIDEST)
    cell_high = max(cell_wide * height / width, 0.5)
    sheet_wide = (1 + 2 * len(views)) * (cell_wide + 0.1)
    sheet_high = samples * (cell_high + 0.08) + 0.4
    map_wide = max(1.5 * cell_wide, 2.6)
    maps_wide = map_wide + 1.5  # with its labels and its colour bar
    maps_high = 2 * len(views) * (map_wide * max(height / width, _FLATTEST) + 0.9)
    high = max(sheet_high, maps_high)

    figure = Figure(figsize=(sheet_wide + maps_wide, high), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    halves = figure.add_gridspec(1, 2, width_ratios=(sheet_wide, maps_wide))
    _draw_sheet(_upper(figure, halves[0, 0], sheet_high, high), pictures.numpy(), grid, views)
    _draw_maps(_upper(figure, halves[0, 1], maps_high, high), grid, views, height / width)
    figure.savefig(output)


def _upper(figure: Figure, place: SubplotSpec, wanted: float, high: float) -> SubFigure:
    """The upper part of a place, `wanted` of its `high` inches."""
    rows = place.subgridspec(2, 1, height_ratios=(wanted, max(high - wanted, 1e-3)))
    return figure.add_subfigure(rows[0, 0])


def _draw_sheet(
    figure: SubFigure, pictures: npt.NDArray[np.uint8], grid: Grid, views: list[View]
) -> None:
    """A sample a row: the input, then the context and the targets of each view."""
    samples = len(pictures)
    cells = figure.subplots(samples, 1 + 2 * len(views), squeeze=False)
    for sample, (row, picture) in enumerate(zip(cells, pictures, strict=True)):
        _show(row[0], picture, grid, None)
        for view, context, targets in zip(views, row[1::2], row[2::2], strict=True):
            blocks = _planes(view.masks.targets[sample], grid)
            _show(
                context, picture, grid, _planes(view.masks.context[sample][None], grid).max(axis=0)
            )
            _show(targets, picture, grid, blocks.max(axis=0))
            for place, block in enumerate(blocks):
                # Later lines are thinner, so that edges at one place all show.
                thickness = 1.4 + 1.1 * min(len(blocks) - 1 - place, 3)
                _outline(targets, block, grid, _COLOURS[place % len(_COLOURS)], thickness)
    cells[0, 0].set_title("input", fontsize=10)
    for place, view in enumerate(views):
        k, (m, t) = view.masks.context.shape[1], view.masks.targets.shape[1:]
        of_view = f"masks.{place}\n" if len(views) > 1 else ""
        cells[0, 1 + 2 * place].set_title(f"{of_view}context: {k} tokens", fontsize=10)
        cells[0, 2 + 2 * place].set_title(f"{of_view}targets: {m} x {t} tokens", fontsize=10)


def _draw_maps(figure: SubFigure, grid: Grid, views: list[View], ratio: float) -> None:
    """How often each place is context, and target: two maps a view."""
    axes = figure.subplots(2 * len(views), 1, squeeze=False)[:, 0]
    for place, view in enumerate(views):
        found = view.coverage
        context, target = found.context_tokens, found.target_tokens
        where = f"masks.{place} " if len(views) > 1 else ""
        _map(
            figure, axes[2 * place], found.context, grid, ratio,
            f"{where}{view.name}: how often context\n"
            f"K {context.mean:.1f} ({context.min} to {context.max}), "
            f"{found.context_share:.0%} of {grid.size} tokens",
        )  # fmt: skip
        _map(
            figure, axes[2 * place + 1], found.target, grid, ratio,
            f"{where}{view.name}: how often target\n"
            f"{found.targets} x T {target.mean:.1f} ({target.min} to {target.max}), "
            f"together {found.target_share:.0%}",
        )  # fmt: skip


def _show(
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


def _map(
    figure: SubFigure, axes: Axes, share: Tensor, grid: Grid, ratio: float, title: str
) -> None:  # fmt: skip
    """A heat map of shares [N] that starts at 0, so that what is never picked is black."""
    values = share.numpy()[plane(grid).numpy()]
    rows, cols = values.shape
    image = axes.imshow(
        values, extent=(0, cols, rows, 0), aspect="auto", cmap="magma", vmin=0,
        vmax=max(float(values.max()), 1e-9),
    )  # fmt: skip
    axes.set_box_aspect(max(ratio, _FLATTEST))
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


def _planes(index: Tensor, grid: Grid) -> Bools:
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
