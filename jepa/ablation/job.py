"""One run on its way: trained, then measured, each by a command in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import final

from jepa.ablation.outcome import is_trained, read_outcome
from jepa.ablation.plan import Run, shell
from jepa.core.files import write_atomic

_GRACE_S = 10.0
_LONGEST = 500
_SAID = "jepa: "


@final
class Job:
    """A run's commands, one after the other. Start it from the main thread.

    Args:
        run: to train where it is not trained, and to measure.
        environment: of its processes.
    """

    def __init__(self, run: Run, environment: Mapping[str, str]) -> None:
        self.run = run
        self._environment = dict(environment)
        self._stopping = False
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        run.failure.unlink(missing_ok=True)
        self._start()

    def _start(self) -> None:
        self._measures = is_trained(self.run)
        command = self.run.eval_command if self._measures else self.run.train_command
        with self.run.log.open("ab") as log:
            log.write(f"$ {shell(command)}\n".encode())
            log.flush()
            self._said_before = log.tell()
            # A session of its own: Ctrl-C reaches the sweep alone, which passes it on once.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jepa", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )

    def is_over(self) -> bool:
        """Whether the run is done, failed or stopped; a trained one is measured next.

        Why it failed is kept beside its log.
        """
        code = self._process.poll()
        if code is None:
            return False
        if self._stopping:
            return True
        if code:
            self._fail(_reason(self.run.log, self._said_before, code))
        elif not self._measures and is_trained(self.run):
            self._start()
            return False
        elif self._measures and read_outcome(self.run).status != "done":
            self._fail(f"`{shell(self.run.eval_command)}` wrote no result of this run's last step")
        return True

    def stop(self) -> None:
        """Ask the process, once, to save and end."""
        if not self._stopping:
            self._stopping = True
            self._process.terminate()

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _fail(self, reason: str) -> None:
        write_atomic(self.run.failure, f"{reason}\n")


def _reason(log: Path, start: int, code: int) -> str:
    """The last word of a command that failed: from its last `jepa: ` on, else its last line."""
    with log.open("rb") as opened:
        opened.seek(start)
        text = opened.read().decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [place for place, line in enumerate(lines) if line.startswith(_SAID)]
    broke = [place for place, line in enumerate(lines) if line.startswith("Traceback ")]
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    if said and (not broke or broke[-1] < said[-1]):
        reason = "; ".join(lines[said[-1] :]).removeprefix(_SAID)
    else:
        reason = lines[-1] if lines else f"exit code {code}"
    return reason[:_LONGEST]
