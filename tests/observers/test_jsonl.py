import json
import math

import pytest

from jepa.core.health.trace import METRICS_FILE as FILE
from jepa.core.training.observer import Record
from jepa.observers.jsonl import Jsonl, to_line


def strict(line: str) -> dict:
    def refuse(constant):
        raise ValueError(constant)

    return json.loads(line, parse_constant=refuse)


def steps(folder) -> list[int]:
    return [strict(line)["step"] for line in (folder / FILE).read_text().splitlines()]


def test_line_is_strict_json():
    metrics = {"train/loss": math.nan, "train/grad_norm": math.inf, "schedule/lr": 1e-3}
    line = to_line(Record(7, 0.7, metrics, ("step skipped",), "learning"), now=12.3456)
    assert line.endswith("\n")
    assert strict(line) == {
        "step": 7,
        "epoch": 0.7,
        "time": 12.346,
        "train/loss": None,
        "train/grad_norm": None,
        "schedule/lr": 1e-3,
        "status": "learning",
        "notes": ["step skipped"],
    }


def test_each_record_is_readable_at_once(make_run, tmp_path):
    observer = Jsonl(Jsonl.Config())
    observer.start(make_run())
    assert observer.measure(1) == {}
    observer.record(Record(1, 0.1, {"train/loss": 0.5}))
    assert steps(tmp_path) == [1]
    observer.saved(1)
    observer.finish("completed")


@pytest.mark.parametrize("tail", ["", '{"step": 31, "tr'])
def test_no_step_stands_twice_after_a_resume(make_run, tmp_path, tail):
    killed = Jsonl(Jsonl.Config())
    killed.start(make_run())
    for step in (10, 20, 30):
        killed.record(Record(step, step / 10, {"train/loss": 1.0}))
    with (tmp_path / FILE).open("a") as out:
        out.write(tail)
    resumed = Jsonl(Jsonl.Config())
    resumed.start(make_run(start_step=20))
    for step in (30, 40):
        resumed.record(Record(step, step / 10, {"train/loss": 2.0}))
    resumed.finish("interrupted")
    assert steps(tmp_path) == [10, 20, 30, 40]
    assert strict((tmp_path / FILE).read_text().splitlines()[2])["train/loss"] == 2.0


def test_use_before_start_says_so():
    with pytest.raises(RuntimeError, match="start"):
        Jsonl(Jsonl.Config()).record(Record(1, 0.1, {}))
