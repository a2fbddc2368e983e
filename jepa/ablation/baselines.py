"""Who measures the untrained network and the raw content, of the runs that share them.

The first that is measured does, where none has: so they are there though a run failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from jepa.ablation.outcome import is_trained, read_outcome, read_scores, without_baselines
from jepa.ablation.plan import Run
from jepa.core.parts import Part


@final
class Baselines:
    """Shares them out.

    Args:
        runs: of the sweep.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs
        self._measuring: list[Run] = []

    def take(self, run: Run) -> tuple[Part, ...]:
        """The protocols by which this run is to measure them; nobody else does until `leave`."""
        if any(run.shares_baselines(other) for other in self._measuring):
            return ()
        found = self._missing(run)
        if found:
            self._measuring.append(run)
        return found

    def leave(self, run: Run) -> None:
        """The run measures them no more, whether it has them now or not."""
        self._measuring = [other for other in self._measuring if other is not run]

    def orphans(self) -> list[Run]:
        """Runs that are done, one of each that share baselines which none has."""
        found: list[Run] = []
        for run in self._runs:
            alike = any(run.shares_baselines(other) for other in found)
            if not alike and read_outcome(run).status == "done" and self._missing(run):
                found.append(run)
        return found

    def _missing(self, run: Run) -> tuple[Part, ...]:
        missing = {part.name for part in run.measure}
        for other in self._runs:
            if missing and run.shares_baselines(other) and is_trained(other):
                missing &= {part.name for part in without_baselines(other, read_scores(other))}
        return tuple(part for part in run.measure if part.name in missing)
