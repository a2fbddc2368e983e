"""Makes the runs of a sweep, so many at a time, and goes on where the disk says it stood."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import final

from jepa.ablation.baselines import Baselines
from jepa.ablation.job import Job
from jepa.ablation.outcome import Outcome, read_outcome
from jepa.ablation.plan import Run, Sweep
from jepa.ablation.settings import AblationConfig
from jepa.ablation.slots import environments
from jepa.core.training.signals import StopRequest

_POLL_S = 0.1


class Watcher(ABC):
    """Is told how a sweep goes."""

    @abstractmethod
    def began(self, run: Run) -> None:
        """A run was started, or goes on."""

    @abstractmethod
    def ended(self, outcome: Outcome) -> None:
        """A run is done, has failed, or was stopped."""

    @abstractmethod
    def looks(self, running: Sequence[Run]) -> None:
        """Runs are on their way; comes several times a second."""


def make_runs(sweep: Sweep, watcher: Watcher, request: StopRequest) -> None:
    """Train and measure every run that is not done. Call it from the main thread.

    A run that fails stops no other. When a signal asks to stop, no run begins any more, and those
    on their way are asked to save and end.

    Args:
        sweep: whose folder this process has locked.
        watcher: is told.
        request: that signals make.
    """
    baselines = Baselines(sweep.runs)
    undone = [run for run in sweep.runs if read_outcome(run).status != "done"]
    _make(undone, sweep.config, baselines, watcher, request)
    # Where those that were to bring the baselines failed, one that is done measures them.
    _make(baselines.orphans(), sweep.config, baselines, _Quiet(watcher), request)


def _make(
    runs: Sequence[Run],
    config: AblationConfig,
    baselines: Baselines,
    watcher: Watcher,
    request: StopRequest,
) -> None:
    waiting = deque(runs)
    slots = environments(config.parallel, config.nproc or 1)
    jobs: dict[int, Job] = {}
    try:
        while jobs or (waiting and not request.received):
            for slot, environment in enumerate(slots):
                if slot not in jobs and waiting and not request.received:
                    jobs[slot] = Job(waiting.popleft(), environment, baselines)
                    watcher.began(jobs[slot].run)
            if request.received:
                for job in jobs.values():
                    job.stop()
            for slot, job in list(jobs.items()):
                if job.is_over():
                    del jobs[slot]
                    watcher.ended(read_outcome(job.run))
            watcher.looks([job.run for job in jobs.values()])
            time.sleep(_POLL_S)
    finally:
        for job in jobs.values():
            job.end()


@final
class _Quiet(Watcher):
    """Runs that are done already are told nothing of again."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def began(self, run: Run) -> None:
        """Nothing."""

    def ended(self, outcome: Outcome) -> None:
        """Nothing: the results are written at the end."""

    def looks(self, running: Sequence[Run]) -> None:
        """As otherwise."""
        self._watcher.looks(running)
