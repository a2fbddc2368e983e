import math
import sys

import pytest

from jepa.core.training.observer import Record
from jepa.observers.progress import Progress, ending, status


def record(step: int, *notes: str) -> Record:
    metrics = {
        "train/loss": 0.25,
        "schedule/lr": 1e-3,
        "perf/samples_per_s": 812.4,
        "perf/step_s": 0.5,
    }
    return Record(step, step / 10, metrics, notes)


def lines_of(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_status_says_what_was_measured():
    expected = "epoch 2.00  loss 0.2500  lr 1.0e-03  812 samples/s  eta 0:00:40"
    assert status(record(20), 100) == expected
    assert status(Record(1, 0.1, {"health/target_std": 1.0}), 100) == "epoch 0.10"


def test_status_ends_with_how_the_run_stands():
    told = Record(20, 2.0, {"train/loss": 0.25}, (), "learning")
    assert status(told, 100) == "epoch 2.00  loss 0.2500  learning"


def test_slow_runs_and_bad_losses_are_readable():
    metrics = {"train/loss": math.nan, "perf/samples_per_s": 0.4217, "perf/step_s": 3600.0}
    shown = status(Record(1, 0.0, metrics), 49)
    assert shown == "epoch 0.00  loss nan  0.42 samples/s  eta 2 days, 0:00:00"


@pytest.mark.parametrize("outcome", ["completed", "interrupted", "failed"])
def test_ending_names_the_outcome_and_the_step(outcome):
    assert ending(outcome, 12, 40, 61.2).startswith(outcome)
    assert "12" in ending(outcome, 12, 40, 61.2)
    assert "0:01:01" in ending(outcome, 12, 40, 61.2)


def test_first_and_last_lines_always_show(make_run, capsys):
    observer = Progress(Progress.Config(every_s=1e6))
    observer.start(make_run())
    for step in range(1, 6):
        assert observer.measure(step) == {}
        observer.record(record(step))
    observer.finish("interrupted")
    first, last, end = lines_of(capsys)
    assert first.startswith("step 1/100 ")
    assert last.startswith("step 5/100 ")
    assert end.startswith("interrupted after step 5 of 100")


def test_last_line_shows_once(make_run, capsys):
    observer = Progress(Progress.Config(every_s=0))
    observer.start(make_run())
    observer.record(record(1))
    observer.record(record(2))
    observer.finish("failed")
    assert [line.split()[1] for line in lines_of(capsys)[:2]] == ["1/100", "2/100"]


def test_notes_show_even_between_lines(make_run, capsys):
    observer = Progress(Progress.Config(every_s=1e6))
    observer.start(make_run(start_step=7))
    observer.record(record(8))
    observer.record(record(9, "[loss] not finite: step skipped"))
    observer.finish("completed")
    shown = lines_of(capsys)
    assert shown[0] == "resumed at step 7 of 100"
    assert shown[2] == "step 9: [loss] not finite: step skipped"


def test_steps_between_log_steps_print_nothing(make_run, capsys):
    observer = Progress(Progress.Config(every_s=0))
    observer.start(make_run())
    observer.record(Record(1, 0.1, {"health/target_std": 0.9}))
    assert lines_of(capsys) == []


def test_a_run_without_records_ends_well(make_run, capsys):
    observer = Progress(Progress.Config())
    observer.start(make_run())
    observer.finish("interrupted")
    (end,) = lines_of(capsys)
    assert end.startswith("interrupted after step 0")


BAR = """
import sys
from types import SimpleNamespace
from jepa.core.training.observer import Record
from jepa.observers.progress import Progress

observer = Progress(Progress.Config())
observer.start(SimpleNamespace(start_step=5, total_steps=60))
for step in range(6, 41):
    observer.measure(step)
    observer.record(Record(step, step / 10, {"train/loss": 1 / step, "perf/step_s": 1.0}))
observer.record(Record(40, 4.0, {"train/loss": 0.025}, ("[bold]kept as it is",)))
observer.finish("interrupted")
print("after")
"""


def on_a_terminal(folder, redirect: str = "") -> str:
    """What a person sees of BAR on a terminal of 100 columns."""
    import fcntl
    import os
    import pty
    import struct
    import subprocess
    import termios

    script = folder / "bar.py"
    script.write_text(BAR)
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    command = f"exec '{sys.executable}' '{script}' {redirect}"
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        command, shell=True, cwd=folder, env=environment, stdin=child, stdout=child, stderr=child
    )
    os.close(child)
    seen = b""
    while True:
        try:
            chunk = os.read(parent, 4096)
        except OSError:  # Linux says so when the other side is closed
            break
        seen += chunk
    os.close(parent)
    assert process.wait() == 0, seen.decode()
    return seen.decode()


def test_bar_on_a_terminal(tmp_path):
    seen = on_a_terminal(tmp_path)
    assert "━" in seen
    assert "40/60" in seen
    assert "loss 0.02500" in seen
    assert "[bold]kept as it is" in seen
    assert "interrupted after step 40 of 60" in seen
    assert seen.rstrip().endswith("after")
    assert seen.rfind("\x1b[?25h") > seen.rfind("\x1b[?25l")  # the cursor is back
    assert "step 6/60  epoch" not in seen  # no plain lines beside the bar


def test_bar_on_the_terminal_and_lines_in_the_file(tmp_path):
    seen = on_a_terminal(tmp_path, "> log.txt")
    assert "━" in seen
    log = (tmp_path / "log.txt").read_text().splitlines()
    assert log[0] == "resumed at step 5 of 60"
    assert log[1].startswith("step 6/60  epoch 0.60  loss 0.1667")
    assert log[-1] == "after"
    assert "\x1b" not in "".join(log)
