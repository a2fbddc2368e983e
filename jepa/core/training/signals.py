"""Signals that ask a run to save and stop."""

from __future__ import annotations

import signal
from types import FrameType

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopRequest:
    """Remembers that SIGTERM, SIGINT or SIGUSR1 came; the trainer asks between steps.

    A second SIGINT acts as usual, for people who cannot wait.
    """

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> StopRequest:
        self._before = {number: signal.getsignal(number) for number in STOPPING}
        for number in STOPPING:
            signal.signal(number, self._receive)
        # Those that came since the launcher started this process have been kept back (`launch`).
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number).name
        signal.signal(signal.SIGINT, signal.default_int_handler)
