"""How far a command is: a plain line on stderr every few seconds."""

from __future__ import annotations

import sys
import time
from typing import final

_EVERY_S = 5.0


@final
class Ticker:
    """Tells how many of `total` samples are done, and how long the rest takes.

    Args:
        total: samples.
        done: how many of them were done before.
        every: seconds between two lines.
    """

    def __init__(self, total: int, done: int = 0, every: float = _EVERY_S) -> None:
        self._total, self._before, self._every = total, done, every
        self._began = self._told = time.monotonic()

    def tell(self, done: int) -> None:
        """Print a line, unless the last one is fresh."""
        now = time.monotonic()
        if now - self._told < self._every or done == self._before:
            return
        self._told = now
        rate = (done - self._before) / (now - self._began)
        left = (self._total - done) / rate
        print(
            f"{done:,} of {self._total:,} samples, {rate:,.0f} a second, {duration(left)} left",
            file=sys.stderr,
            flush=True,
        )


def duration(seconds: float) -> str:
    """Seconds as people say them: `2 h 5 min`, `3 min 20 s`, `7 s`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
