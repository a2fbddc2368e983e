"""Is the model learning? Measures on a fixed batch, an online k-NN, and a verdict on both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import attrs

from jepa.core.errors import DataError
from jepa.core.health.rules import judge
from jepa.core.health.trace import BAD_STEPS, HEALTH, METRICS_FILE, Trace, read_trace
from jepa.core.health.verdict import Kind, Verdict
from jepa.core.settings import check, positive
from jepa.core.training.observer import Observer, Outcome, Record, Remark, RunView
from jepa.observers.health_batch import BatchMeasures
from jepa.observers.health_probe import ProbeConfig, Samples, accuracy, load_samples


@final
class Health(Observer):
    """Measures whether the model learns, and says so; docs/health.md has each measure and rule.

    Scalars stand under `health/`. They are taken at the first step, every `every` steps and at the
    last, on samples that the run does not train on where the source has them. Where samples have
    labels, a k-NN follows every `probe.every` steps.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """How often and how closely to look."""

        every: int = attrs.field(default=100, validator=positive)
        """Steps between two measurements; the first and the last step are always measured."""
        rows: int = attrs.field(default=2048, validator=positive)
        """Tokens of each kind that count. A rank can't exceed it."""
        draws: int = attrs.field(default=4, validator=check("2 or more", lambda v: v >= 2))
        """Masks of each sample, for the measures that compare contexts of one sample."""
        probe: ProbeConfig = attrs.field(factory=ProbeConfig)
        """The online k-NN."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._run: RunView | None = None
        self._batch: BatchMeasures | None = None
        self._samples: Samples | None = None
        self._initial: Mapping[str, float] = {}
        self._notes: tuple[str, ...] = ()
        self._verdict: Verdict | None = None
        self._trace = Trace()

    def start(self, run: RunView) -> None:
        """Take up the trace of a run that goes on, or ask what the initial weights know."""
        self._run, self._verdict, self._trace = run, None, Trace()
        self._batch = BatchMeasures(run, self.config.rows, self.config.draws)
        if run.held_out() is None:
            self._notes += (
                "health: no held-out samples (splits test, val), so it looks at training samples",
            )
        self._samples = self._load(run)
        if run.start_step > 0:
            self._trace = self._earlier(run)
            self._verdict = judge(self._trace)
        elif self._samples is not None:
            self._initial = {
                "knn_init": accuracy(self._samples, run),
                "knn_asked": float(len(self._samples.asked.labels)),
            }

    def measure(self, step: int) -> Mapping[str, float]:
        """The measures that are due."""
        run, batch = self._run, self._batch
        if run is None or batch is None:
            return {}
        found: dict[str, float] = {}
        last = step == run.total_steps
        if step == 1 or step % self.config.every == 0 or last:
            found |= batch()
        if self._samples is not None and (step % self.config.probe.every == 0 or last):
            found["knn"] = accuracy(self._samples, run)
        if not found:
            return {}
        found, self._initial = {**found, **self._initial}, {}
        named = {f"{HEALTH}{name}": value for name, value in found.items()}
        self._trace.add(step, named)
        self._judge()
        return named

    def remark(self, step: int) -> Remark | None:
        """The verdict, with a note where it is another than before."""
        notes, self._notes = self._notes, ()
        if self._verdict is None:
            return Remark("", notes) if notes else None
        return Remark(self._verdict.sentence, notes)

    def record(self, record: Record) -> None:
        """Keep what the next verdict is made from; skipped steps do not wait for it."""
        self._trace.add(record.step, record.metrics)
        if record.metrics.get(BAD_STEPS, 0) > 0:
            self._judge()

    def saved(self, step: int) -> None:
        """Nothing is held."""

    def finish(self, outcome: Outcome) -> None:
        """Let go of the model."""
        self._run = self._batch = self._samples = None

    def _judge(self) -> None:
        """Judge the trace; another finding than before is worth a line."""
        before, self._verdict = self._verdict, judge(self._trace)
        known = Kind.WARMING_UP if before is None else before.kind
        if self._verdict.kind is not known:
            self._notes += (f"health: {self._verdict.advice}",)

    def _load(self, run: RunView) -> Samples | None:
        if self.config.probe.every == 0:
            return None
        try:
            return load_samples(self.config.probe, run)
        except DataError as error:
            self._notes += (f"health: no k-NN: {error}",)
            return None

    def _earlier(self, run: RunView) -> Trace:
        """What the run measured before it stopped, where the observer `jsonl` kept it."""
        path = run.output / METRICS_FILE
        try:
            return read_trace(path).until(run.start_step) if path.exists() else Trace()
        except DataError as error:
            self._notes += (f"health: its measures begin anew: {error}",)
            return Trace()
