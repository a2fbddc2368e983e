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
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._before = total, done
        self._began = self._told = time.monotonic()

    def tell(self, done: int) -> None:
        """Print a line, unless the last one is fresh."""
        now = time.monotonic()
        if now - self._told < _EVERY_S or done == self._before:
            return
        self._told = now
        rate = (done - self._before) / (now - self._began)
        left = (self._total - done) / rate
        print(
            f"{done:,} of {self._total:,} samples, {rate:,.0f} a second, {_duration(left)} left",
            file=sys.stderr,
            flush=True,
        )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
