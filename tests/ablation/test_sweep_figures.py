"""The plots of a sweep: dots of seeds, ends within what can be, and the units of the table."""

from __future__ import annotations

import made_up
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from jepa.ablation import figures
from jepa.ablation.courses import Course
from jepa.ablation.summary import Measure, summarise

ONLINE = Measure("online k-NN", "accuracy")


@pytest.fixture(autouse=True)
def figure_itself(monkeypatch):
    monkeypatch.setattr(figures, "_png", lambda figure: figure)


def plot(made, found):
    summary = summarise(made, found)
    return figures.interval_plot(made, summary, summary.measures[0])


def dots(axis, place):
    """Where the small dots of the seeds of a variant are."""
    return [
        sorted(line.get_xdata())
        for line in axis.lines
        if line.get_markersize() == 3 and round(line.get_ydata()[0]) == place
    ]


def test_each_seed_is_a_small_dot(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"])
    found = made_up.outcomes(made, {"a": [0.50, 0.52, 0.51], "b": [0.4, 0.4, 0.4]})
    (axis,) = plot(made, found).axes
    assert dots(axis, 0) == [[0.50, 0.51, 0.52]]
    assert dots(axis, 1) == [[0.4, 0.4, 0.4]]
    one = made_up.sweep(tmp_path, ["a"], seeds=[0])
    assert dots(plot(one, made_up.outcomes(one, {"a": [0.5]})).axes[0], 0) == []


@pytest.mark.parametrize(("metric", "most"), [("accuracy", 1.0), ("mean absolute error of x", 3.0)])
def test_nothing_is_drawn_where_no_score_can_be(tmp_path, metric, most):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1])
    # Two seeds 0.1 apart have an interval of 1.27 in all.
    scores = {"a": [0.85, 0.95], "b": [0.1, 0.2]}
    (axis,) = plot(made, made_up.outcomes(made, scores, metric)).axes
    left, right = axis.get_xlim()
    assert left >= 0.0
    assert right <= most
    drawn = np.concatenate([np.asarray(line.get_xdata(), float) for line in axis.lines])
    assert drawn.min() >= 0.0
    assert drawn.max() == pytest.approx(1.0 if most == 1.0 else 1.5353, abs=1e-3)


def test_names_of_close_baselines_do_not_touch(tmp_path):
    made = made_up.sweep(tmp_path, ["a"], seeds=[0, 1])
    found = [
        made_up.done(run, trained=0.9, random_init=0.500 + 0.01 * run.seed, raw_baseline=0.506)
        for run in made.runs
    ]
    figure = plot(made, found)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    left, right = sorted(boxes, key=lambda box: box.x0)
    assert right.x0 - left.x1 > 6


def test_online_accuracy_has_the_unit_of_the_table(tmp_path):
    made = made_up.sweep(tmp_path, ["a"], seeds=[0])
    course = Course(np.array([0, 80]), np.array([0.2, 0.46]))
    (axis,) = figures.course_plot(made, {"a": [course]}, ONLINE).axes
    assert axis.get_ylabel() == "online k-NN accuracy, %"
    assert axis.yaxis.get_major_formatter()(0.46, 0) == "46"


@pytest.mark.parametrize(("points", "marker"), [(1, "o"), (2, "None")])
def test_a_curve_of_one_point_is_seen(tmp_path, points, marker):
    made = made_up.sweep(tmp_path, ["a"], seeds=[0])
    course = Course(np.arange(points), np.ones(points))
    (axis,) = figures.course_plot(made, {"a": [course]}, None).axes
    assert axis.lines[-1].get_marker() == marker
