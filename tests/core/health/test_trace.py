import json
import math

import pytest

from jepa.core.errors import DataError
from jepa.core.health.trace import Trace, read_trace


def test_keeps_what_a_verdict_needs_and_marks_what_is_not_finite():
    trace = Trace()
    trace.add(1, {"health/loss": 0.5, "perf/step_s": 2.0})
    trace.add(10, {"train/loss": math.inf, "health/loss": None})
    assert trace.names == ("health/loss", "train/loss")
    steps, values = trace.series("health/loss")
    assert steps.tolist() == [1, 10]
    assert values[0] == 0.5
    assert math.isnan(values[1])
    assert math.isnan(trace.series("train/loss").values[0])
    assert trace.series("health/knn").steps.size == 0


def test_a_run_that_went_back_has_no_step_twice():
    trace = Trace()
    for step in (10, 20, 30):
        trace.add(step, {"train/loss": float(step)})
    trace.add(20, {"train/loss": 7.0})
    assert trace.series("train/loss").steps.tolist() == [10, 20]
    assert trace.series("train/loss").values.tolist() == [10.0, 7.0]


def test_until_is_the_past():
    trace = Trace()
    for step in (10, 20, 30):
        trace.add(step, {"train/loss": float(step)})
    assert trace.until(20).series("train/loss").steps.tolist() == [10, 20]
    assert trace.until(5).names == ()


def test_reads_a_run_while_it_writes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 1, "health/loss": 0.5, "notes": ["n"], "status": "s"},
        {"step": 2, "train/loss": None},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 3, "tra')
    trace = read_trace(path)
    assert trace.series("health/loss").steps.tolist() == [1]
    assert math.isnan(trace.series("train/loss").values[0])


@pytest.mark.parametrize("line", ["{]", "[1]", '{"epoch": 1}'])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(DataError, match="line 2: no record"):
        read_trace(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"metrics\.jsonl: cannot be read"):
        read_trace(tmp_path / "metrics.jsonl")
