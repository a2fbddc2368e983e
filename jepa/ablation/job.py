"""One run on its way: trained, then measured, each by a command in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

from jepa.ablation.baselines import Baselines
from jepa.ablation.outcome import is_trained, read_outcome, read_scores, unscored
from jepa.ablation.plan import Run, shell
from jepa.core.files import write_atomic
from jepa.core.parts import Part

_GRACE_S = 10.0
_LONGEST = 500
_SAID = "jepa: "


@final
class Job:
    """A run's commands, one after the other. Start it from the main thread.

    Args:
        run: to train where it is not trained, and to measure.
        environment: of its processes.
        baselines: tells by which protocols the run measures those too.
    """

    def __init__(self, run: Run, environment: Mapping[str, str], baselines: Baselines) -> None:
        self.run = run
        self._environment = dict(environment)
        self._baselines = baselines
        self._with_baselines: tuple[Part, ...] = ()
        self._protocols: tuple[Part, ...] = ()
        """Those of the process that runs; none where it trains."""
        self._next: deque[tuple[Part, ...]] = deque()
        self._reasons: dict[str, list[str]] = {}
        self._stopping = False
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        run.failure.unlink(missing_ok=True)
        if is_trained(run):
            self._ask()
        if self._next:
            self._measure()
        else:
            self._start(run.train_command)

    def _ask(self) -> None:
        """Find out by which protocols to measure: one command for all."""
        scores = read_scores(self.run)
        self._with_baselines = self._baselines.take(self.run)
        wanted = {part.name for part in (*unscored(self.run, scores), *self._with_baselines)}
        asked = tuple(part for part in self.run.measure if part.name in wanted)
        self._next.extend([asked] if asked else [])

    def _measure(self) -> None:
        self._protocols = self._next.popleft()
        bring = any(part in self._with_baselines for part in self._protocols)
        self._start(self.run.measuring(self._protocols, baselines=bring))

    def _start(self, command: Sequence[str]) -> None:
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
            self._refused(_reason(self.run.log, self._said_before, code))
        elif not self._protocols and is_trained(self.run):
            self._ask()
        if self._next:
            self._measure()
            return False
        self._conclude()
        return True

    def _refused(self, reason: str) -> None:
        """Keep why a command failed; of several protocols, each gets a try of its own."""
        if len(self._protocols) > 1:
            self._next.extend((part,) for part in self._protocols)
        else:
            names = self._reasons.setdefault(reason, [])
            names += [part.name for part in self._protocols]

    def _conclude(self) -> None:
        self._baselines.leave(self.run)
        told = [
            f"{', '.join(names)}: {reason}" if names else reason
            for reason, names in self._reasons.items()
        ]
        if not told and self._protocols and read_outcome(self.run).status != "done":
            told = [f"`{shell(self.run.eval_command)}` wrote no result of this run's last step"]
        if told:
            write_atomic(self.run.failure, "; ".join(told) + "\n")

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
