"""Curves show what `metrics.jsonl` holds."""

import json

import numpy as np
import pytest

from jepa.core.errors import DataError
from jepa.evaluation.curves import Curve, loss_curve, read_curve


def test_reads_one_scalar_and_passes_over_gaps(tmp_path):
    records = [{"step": 1, "a": 2.0, "b": 1.0}, {"step": 2, "b": 3.0}, {"step": 5, "a": None}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert [part.tolist() for part in read_curve(path, "a")] == [[1], [2.0]]
    assert [part.tolist() for part in read_curve(path, "b")] == [[1, 2], [1.0, 3.0]]
    assert read_curve(path, "c").steps.tolist() == []


@pytest.mark.parametrize("line", ['{"step": 1', '{"a": 1.0}', "[1]"])
def test_a_broken_line_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "a": 1.0}\n' + line + "\n")
    with pytest.raises(DataError, match="line 2"):
        read_curve(path, "a")


def test_the_figure_plots_the_values_and_names_its_axes():
    steps = np.arange(10, 2010, 10)
    loss = Curve(steps, np.sin(steps / 100) + 2)
    figure = loss_curve(loss, Curve(steps, steps / 1e6), "smooth_l1")
    upper, lower = figure.axes
    raw, mean = upper.lines
    assert np.array_equal(raw.get_ydata(), loss.values)
    assert mean.get_ydata()[100] == pytest.approx(loss.values[96:105].mean())
    assert np.array_equal(lower.lines[0].get_ydata(), steps / 1e6)
    assert upper.get_ylabel() == "training loss (smooth_l1)"
    assert raw.get_marker() == "None"
    assert (lower.get_xlabel(), lower.get_ylabel()) == ("optimizer step", "learning rate")


def test_a_single_point_is_seen():
    one = Curve(np.array([3]), np.array([0.5]))
    figure = loss_curve(one, one, "smooth_l1")
    assert [line.get_marker() for axis in figure.axes for line in axis.lines] == ["o"] * 3
