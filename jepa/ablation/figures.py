"""Plots of a sweep: scores with their intervals, and how the runs went."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from jepa.ablation import wording
from jepa.ablation.courses import Course, mean
from jepa.ablation.plan import Sweep
from jepa.ablation.summary import Measure, Standing, Summary
from jepa.evaluation.curves import smooth

_WIDE = 5.2  # inches: two beside each other on a wide page, one on a narrow one
_DPI = 160
_LABEL = 26  # letters of a line
# Okabe and Ito (2008), which colour-blind people tell apart; yellow is too pale for a line.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_DASHES = ("-", "--", ":", "-.")
_BASELINE = "#8c959f"
_BELOW = 0.24  # of the distance of two variants: where the scores of single seeds are


def interval_plot(sweep: Sweep, summary: Summary, measure: Measure) -> bytes:
    """Mean and 95% interval of each variant by one measure, baselines as lines: a PNG."""
    rows = summary.rows
    lines = {
        name: of_measure[measure.name].mean
        for name, of_measure in summary.baselines.items()
        if measure.name in of_measure
    }
    figure = Figure(figsize=(_WIDE, 1.3 + 0.42 * len(rows)), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    for place, (row, (colour, _)) in enumerate(zip(rows, styles(len(rows)), strict=True)):
        _scores(axis, row.standings[measure.name], measure, place, colour)
    _baselines(axis, lines)
    names = [
        plain(row.variant.label) + ("\n(reference)" if row.variant == sweep.reference else "")
        for row in rows
    ]
    axis.set_yticks(range(len(rows)), names, fontsize=9)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.set_xlabel(wording.title(measure))
    if measure.more_is_better:
        axis.xaxis.set_major_formatter(FuncFormatter(_in_percent))
    axis.xaxis.set_major_locator(MaxNLocator(6))
    (left, right), (least, most) = axis.get_xlim(), wording.limits(measure)
    axis.set_xlim(max(left, least), min(right, most))
    return _png(figure)


def _scores(axis: Axes, standing: Standing, measure: Measure, place: int, colour: str) -> None:
    """The mean with its interval, and the score of each seed as a small dot below it."""
    found = standing.score
    if found is None:
        return
    between = wording.ends(measure, found)
    if between is not None:
        axis.plot(
            between, (place, place), color=colour, linewidth=2, marker="|", markersize=9,
            markeredgewidth=2, clip_on=False,
        )  # fmt: skip
    axis.plot(
        found.mean, place, color=colour, marker="o", markersize=7, clip_on=False,
        markerfacecolor="white" if between is None else colour,
    )  # fmt: skip
    if found.n > 1:
        axis.plot(
            list(standing.scores.values()), [place + _BELOW] * found.n, color=colour, marker="o",
            markersize=3, linestyle="none", alpha=0.6, clip_on=False,
        )  # fmt: skip


def _baselines(axis: Axes, lines: Mapping[str, float]) -> None:
    """Lines with their names above; those of two that lie close must not touch each other."""
    sides = (("right", -3), ("left", 3))
    for name, (side, apart) in zip(sorted(lines, key=lines.__getitem__), sides, strict=False):
        axis.axvline(lines[name], color=_BASELINE, linestyle="--", linewidth=1.3, zorder=0)
        axis.annotate(
            name, (lines[name], 1), xycoords=("data", "axes fraction"), xytext=(apart, 3),
            textcoords="offset points", ha=side, va="bottom", fontsize=8, color="#57606a",
        )  # fmt: skip


def course_plot(
    sweep: Sweep, courses: Mapping[str, Sequence[Course]], measure: Measure | None
) -> bytes:
    """A scalar over the samples seen: thin lines are runs, thick ones means over seeds. A PNG.

    Args:
        sweep: whose variants are drawn.
        courses: of the runs of each variant, by its label.
        measure: that the values are of; None for the loss, whose means are running means.
    """
    figure = Figure(figsize=(_WIDE, 3.9), dpi=_DPI, layout="constrained")
    axis = figure.subplots()
    handles, names = [], []
    for variant, (colour, dashes) in zip(sweep.variants, styles(len(sweep.variants)), strict=True):
        of_variant = courses.get(variant.label, ())
        for each in of_variant:
            axis.plot(each.samples, each.values, color=colour, linewidth=0.6, alpha=0.35)
        if not of_variant:
            continue
        middle = mean(of_variant)
        values = smooth(middle.values) if measure is None else middle.values
        # A line through one point shows nothing.
        marker = "o" if measure is not None or len(values) == 1 else None
        handles += axis.plot(
            middle.samples, values, color=colour, linestyle=dashes, linewidth=2, marker=marker,
            markersize=4,
        )  # fmt: skip
        names.append(plain(variant.label))
    axis.set_ylabel("training loss" if measure is None else wording.title(measure))
    if measure is not None and measure.more_is_better:
        axis.yaxis.set_major_formatter(FuncFormatter(_in_percent))
    axis.set_xlabel("samples seen")
    axis.xaxis.set_major_locator(MaxNLocator(6))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda seen, _: f"{seen:,.0f}"))
    figure.legend(
        handles, names, loc="outside lower center", ncols=min(len(names), 3), frameon=False,
        fontsize=8.5,
    )  # fmt: skip
    return _png(figure)


def _in_percent(share: float, _: object) -> str:
    return f"{100 * share:g}"


def styles(count: int) -> list[tuple[str, str]]:
    """A colour and a dash pattern for each of some variants; the same in every plot."""
    return [
        (_COLOURS[place % len(_COLOURS)], _DASHES[place // len(_COLOURS) % len(_DASHES)])
        for place in range(count)
    ]


def plain(label: str) -> str:
    """A label as matplotlib draws it: nothing in it is a formula, and none is hidden."""
    lines = textwrap.wrap(label, _LABEL, max_lines=2, placeholder=" …") or ["?"]
    text = "\n".join(lines).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _png(figure: Figure) -> bytes:
    for axis in figure.axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # A label may have letters that the font lacks; the tables around the plot spell it.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
