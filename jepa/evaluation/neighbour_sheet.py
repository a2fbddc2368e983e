"""A sheet of nearest neighbours: a row a query."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

_INCH = 1.3
_TEXT_INCH = 0.42
_GAP = 0.2
"""Between the queries and their neighbours, in widths of a picture."""
_NAME = 20
_SAME, _OTHER = "#16803c", "#d03030"


@attrs.frozen(kw_only=True)
class Cell:
    """One picture.

    Args:
        picture: uint8 [H, W, 3], as `Modality.preview` gives them.
        head: the line above all.
        name: the line below it, shortened where it is long.
        same: whether it is of the query's class; None: not known.
    """

    picture: Tensor
    head: str
    name: str
    same: bool | None = None


def neighbour_sheet(rows: Sequence[Sequence[Cell]], about: str) -> Figure:
    """Rows of a query and its neighbours, the nearest first.

    Args:
        rows: of cells; the first of each is the query.
        about: what is shown, under the title.
    """
    height, width = rows[0][0].picture.shape[:2]
    across = _INCH * min(max(width / height, 1.0), 2.5)
    columns = max(map(len, rows))
    figure = Figure(
        figsize=(
            across * (columns + _GAP) * 1.08,
            (across * height / width + _TEXT_INCH) * len(rows) + 1.0,
        ),
        layout="constrained",
        dpi=160,
    )
    # An empty column keeps the queries apart.
    widths = [1.0, _GAP, *[1.0] * (columns - 1)]
    axes = figure.subplots(len(rows), columns + 1, squeeze=False, width_ratios=widths)
    for row, line in zip(rows, axes, strict=True):
        shown = [line[0], *line[2:]]
        for axis in line:
            axis.axis("off")
        for place, (cell, axis) in enumerate(zip(row, shown, strict=False)):
            _draw(axis, cell, query=place == 0)
    marked = any(cell.same is not None for row in rows for cell in row)
    legend = "\nframe: green = the query's class, red and dashed = another" if marked else ""
    figure.suptitle(f"Query (left) and its nearest neighbours\n{about}{legend}", fontsize=9)
    return figure


def _draw(axis: Axes, cell: Cell, *, query: bool) -> None:
    axis.imshow(cell.picture.numpy(), interpolation="nearest")
    weight = "bold" if query else "normal"
    axis.set_title(f"{cell.head}\n{shorten(cell.name)}", fontsize=7, fontweight=weight, pad=5)
    if cell.same is None:
        return
    frame = Rectangle(
        (-0.02, -0.02),
        1.04,
        1.04,
        transform=axis.transAxes,
        fill=False,
        clip_on=False,
        linewidth=2.2,
        edgecolor=_SAME if cell.same else _OTHER,
        linestyle="solid" if cell.same else "dashed",
    )
    axis.add_patch(frame)


def shorten(name: str) -> str:
    """The end of a name, which tells files of a folder apart; `$` is no formula."""
    end = name if len(name) <= _NAME else f"…{name[1 - _NAME :]}"
    return end.encode("utf-8", "backslashreplace").decode("utf-8").replace("$", r"\$")
