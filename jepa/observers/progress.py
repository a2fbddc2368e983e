"""Shows people how far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Mapping
from typing import TextIO, final

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from jepa.core.files import hush
from jepa.core.settings import non_negative
from jepa.core.training.observer import Observer, Outcome, Record, Remark, RunView

LOSS = "train/loss"
_REFRESH_S = 0.2


@final
class Progress(Observer):
    """Shows step, epoch, loss, learning rate, samples/s, the time left and how the run stands.

    The bar goes to stderr where that is a terminal. Plain lines go to stdout where that is no
    terminal, or where there is no bar; so `jepa train > log.txt` gives both.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """How talkative plain lines are."""

        every_s: float = attrs.field(default=5.0, validator=non_negative)
        """Seconds between two plain lines, at least; the first, the last and notes always show."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._bar: Bar | None = None
        self._lines: Lines | None = None
        self._step = 0
        self._total = 0
        self._began = 0.0

    def start(self, run: RunView) -> None:
        """Open the bar or the lines."""
        self._step, self._total, self._began = run.start_step, run.total_steps, time.monotonic()
        console = Console(stderr=True)
        if sys.stderr.isatty() and not console.is_dumb_terminal:
            self._bar = Bar(console, run.start_step, run.total_steps)
        if self._bar is None or not sys.stdout.isatty():
            self._lines = Lines(sys.stdout, run.total_steps, self.config.every_s)
        if run.start_step > 0:
            self._say(f"resumed at step {run.start_step} of {run.total_steps}")

    def measure(self, step: int) -> Mapping[str, float]:
        """No scalars; the bar moves."""
        self._step = step
        if self._bar is not None:
            self._bar.move(step)
        return {}

    def remark(self, step: int) -> Remark | None:
        """Nothing of its own."""
        return None

    def record(self, record: Record) -> None:
        """Show notes, and of log steps the scalars that people look at."""
        self._step = record.step
        for note in record.notes:
            self._say(f"step {record.step}: {note}")
        if LOSS not in record.metrics:
            return
        if self._bar is not None:
            self._bar.show(status(record, self._total))
        if self._lines is not None:
            self._lines.show(record)

    def saved(self, step: int) -> None:
        """Nothing is held."""

    def finish(self, outcome: Outcome) -> None:
        """Close the bar and say how the run ended, if it came so far as to begin."""
        if self._lines is not None:
            self._lines.close()
        if self._bar is not None:
            self._bar.close()
        self._say(ending(outcome, self._step, self._total, time.monotonic() - self._began))

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.say(line)
        if self._lines is not None:
            self._lines.say(line)


@final
class Bar:
    """A bar at the foot of a terminal, and a line of scalars under it.

    It redraws when it moves, on the caller's thread: a thread of its own could hold the console's
    lock at the moment when a data worker is forked.
    """

    def __init__(self, console: Console, done: int, total: int) -> None:
        self._bar = RichProgress(
            TextColumn("step {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            expand=True,
        )
        self._task = self._bar.add_task("", total=total, completed=done)
        self._text = Text(no_wrap=True, overflow="ellipsis")
        self._live = Live(
            Group(self._bar, self._text),
            console=console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),
        )
        self._live.start(refresh=True)
        self._drawn = time.monotonic()

    def move(self, step: int) -> None:
        """Move to a step."""
        self._bar.update(self._task, completed=step)
        if time.monotonic() - self._drawn >= _REFRESH_S:
            self._redraw()

    def show(self, text: str) -> None:
        """Put text under the bar; it shows when the bar is drawn next."""
        self._text.plain = text

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._live.console.print(Text(line))

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._redraw()
        self._live.stop()

    def _redraw(self) -> None:
        self._drawn = time.monotonic()
        self._live.refresh()


@final
class Lines:
    """Plain lines, each whole and flushed, for logs."""

    def __init__(self, out: TextIO, total: int, every_s: float) -> None:
        self._out = out
        self._total = total
        self._every_s = every_s
        self._next = 0.0
        self._unseen: Record | None = None

    def show(self, record: Record) -> None:
        """Print a record, unless the line before it is too fresh."""
        self._unseen = record
        if time.monotonic() >= self._next:
            self._print(record)

    def say(self, line: str) -> None:
        """Print a line, as long as somebody reads: training goes on without a reader."""
        try:
            print(line, file=self._out, flush=True)
        except BrokenPipeError:
            hush(self._out)

    def close(self) -> None:
        """Print the last record, if it was passed over."""
        if self._unseen is not None:
            self._print(self._unseen)

    def _print(self, record: Record) -> None:
        self.say(f"step {record.step}/{self._total}  {status(record, self._total)}")
        self._next = time.monotonic() + self._every_s
        self._unseen = None


def status(record: Record, total: int) -> str:
    """What people watch, in one line; what was not measured is left out."""
    metrics = record.metrics
    shown = [f"epoch {record.epoch:.2f}"]
    if LOSS in metrics:
        shown.append(f"loss {metrics[LOSS]:#.4g}")
    if "schedule/lr" in metrics:
        shown.append(f"lr {metrics['schedule/lr']:.1e}")
    if "perf/samples_per_s" in metrics:
        speed = metrics["perf/samples_per_s"]
        shown.append(f"{speed:.{0 if speed >= 10 else 2}f} samples/s")
    if "perf/step_s" in metrics:
        left = (total - record.step) * metrics["perf/step_s"]
        shown.append(f"eta {_clock(left)}")
    if record.status:
        shown.append(record.status)
    return "  ".join(shown)


def ending(outcome: Outcome, step: int, total: int, seconds: float) -> str:
    """How the run ended, in one line; `seconds` are those of this process."""
    said = {
        "completed": f"completed: {step} steps",
        "interrupted": f"interrupted after step {step} of {total}; the same command goes on",
        "failed": f"failed after step {step} of {total}",
    }
    return f"{said[outcome]} ({_clock(seconds)})"


def _clock(seconds: float) -> str:
    """`1:02:03`, with days in front where there are some."""
    return str(datetime.timedelta(seconds=round(seconds)))
