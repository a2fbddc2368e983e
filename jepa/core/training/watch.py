"""The observers of a run, fed on the first process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from jepa.core.errors import TrainingError
from jepa.core.training.observer import Observer, Outcome, Record, RunView


class Watch:
    """Builds the observers and passes on what happens.

    Args:
        run: what they may look at.
        utilisation_per_rate: model FLOP utilisation for each sample/s; None where unknown.
            `perf/mfu` is samples/s times this.
    """

    def __init__(self, run: RunView, utilisation_per_rate: float | None) -> None:
        self.run = run
        self.utilisation_per_rate = utilisation_per_rate
        self._observers: list[tuple[str, Observer]] = [
            (part.name, part.cls(part.config)) for part in run.config.observers
        ]
        self._statuses: dict[str, str] = {}

    def start(self) -> None:
        """The run begins or goes on."""
        for name, observer in self._observers:
            with _named(name):
                observer.start(self.run)

    def see(self, step: int, metrics: Mapping[str, float], notes: Sequence[str] = ()) -> None:
        """A step is done; `metrics` is empty between log lines, `notes` are lines for people."""
        told = dict(metrics)
        rate = told.get("perf/samples_per_s")
        if rate is not None and self.utilisation_per_rate is not None:
            told["perf/mfu"] = rate * self.utilisation_per_rate
        said = list(notes)
        for name, observer in self._observers:
            with _named(name):
                told |= observer.measure(step)
                remark = observer.remark(step)
            if remark is not None:
                self._statuses[name] = remark.status
                said += remark.notes
        if told or said:
            status = "; ".join(filter(None, self._statuses.values()))
            epoch = step / self.run.steps_per_epoch
            record = Record(step, epoch, told, tuple(said), status)
            for name, observer in self._observers:
                with _named(name):
                    observer.record(record)

    def saved(self, step: int) -> None:
        """A checkpoint is about to be written."""
        for name, observer in self._observers:
            with _named(name):
                observer.saved(step)

    def finish(self, outcome: Outcome) -> None:
        """The run is over, or stops for now; every observer hears it.

        Raises:
            TrainingError: the first that an observer met.
        """
        faults = []
        for name, observer in self._observers:
            try:
                with _named(name):
                    observer.finish(outcome)
            except TrainingError as error:
                faults.append(error)
        if faults:
            raise faults[0]


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """What the system refuses (a full disk) ends the run with the observer's name."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"the observer '{name}' failed: {error}") from error
