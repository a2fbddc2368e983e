"""The picture of `jepa masks`: samples on the left, coverage of the grid on the right."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.gridspec import SubplotSpec
from torch import Tensor

from jepa.core.coverage import Coverage
from jepa.core.grid import Grid
from jepa.core.tokens import Masks
from jepa.evaluation.masks_drawing import heat_map, map_ratio, outlines, planes, show

_AREA = 2.6  # square inches of one picture
_WIDEST = 5.0  # inches
_TITLE = 1.65  # inches that the words above a column take


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
    sheet_wide = (1 + 2 * len(views)) * max(cell_wide + 0.1, _TITLE)
    sheet_high = samples * (cell_high + 0.08) + 0.4
    map_wide = max(1.5 * cell_wide, 2.6)
    maps_wide = map_wide + 1.5  # with its labels and its colour bar
    maps_high = 2 * len(views) * (map_wide * map_ratio(height / width) + 0.9)
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
        show(row[0], picture, grid, None)
        for view, context, targets in zip(views, row[1::2], row[2::2], strict=True):
            blocks = planes(view.masks.targets[sample], grid)
            show(context, picture, grid, planes(view.masks.context[sample][None], grid).max(axis=0))
            show(targets, picture, grid, blocks.max(axis=0))
            outlines(targets, blocks, grid)
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
        heat_map(
            figure, axes[2 * place], found.context, grid, ratio,
            f"{where}{view.name}: how often context\n"
            f"K {context.mean:.1f} ({context.min} to {context.max}), "
            f"{found.context_share:.0%} of {grid.size} tokens",
        )  # fmt: skip
        heat_map(
            figure, axes[2 * place + 1], found.target, grid, ratio,
            f"{where}{view.name}: how often target\n"
            f"{found.targets} x T {target.mean:.1f} ({target.min} to {target.max}), "
            f"together {found.target_share:.0%}",
        )  # fmt: skip
