"""What `jepa ablate` prints: the plan of a sweep, and how it goes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jepa.ablation.costs import flops_per_sample
from jepa.ablation.outcome import Outcome, Score, is_trained, read_outcome
from jepa.ablation.plan import Run, Sweep, shell
from jepa.ablation.runner import Watcher
from jepa.commands.ticker import Ticker, duration
from jepa.core.health.trace import METRICS_FILE
from jepa.evaluation.candidates import TRAINED
from jepa.evaluation.comparison import ACCURACY

_TICK_S = 30.0
_LOOK_S = 2.0
_LAST_BYTES = 65536
"""Of metrics.jsonl, which hold its last whole line."""


def show_plan(sweep: Sweep) -> None:
    """Print the variants, the runs and how each stands, and the commands."""
    console = Console(highlight=False)
    # A terminal may be too narrow: wrapped lines can be read, cut numbers can't.
    Console(highlight=False, width=max(console.width, 80)).print(_variants(sweep))
    for run in sweep.runs:
        found = read_outcome(run)
        told = f"{found.status} ({found.reason})" if found.reason else found.status
        console.print(Text(f"\n# {run.name}: {told}"), soft_wrap=True)
        for command in (run.train_command, run.eval_command):
            console.print(Text(shell(command)), soft_wrap=True)
    console.print(
        f"\n{len(sweep.variants)} variants x {len(sweep.config.seeds)} seeds = {len(sweep.runs)} "
        f"runs into {sweep.folder}; nothing was trained or written (--dry-run)",
        soft_wrap=True,
    )


def _variants(sweep: Sweep) -> Table:
    table = Table(title=f"{sweep.config.base}, varied", title_justify="left", title_style="bold")
    table.add_column("variant")
    table.add_column("what differs", overflow="fold")
    table.add_column("steps", justify="right")
    table.add_column("GFLOPs a sample", justify="right")
    first = {run.variant.label: run for run in reversed(sweep.runs)}
    for variant in sweep.variants:
        run = first[variant.label]
        flops = flops_per_sample(run.config)
        table.add_row(
            Text(variant.label + (" (reference)" if variant == sweep.reference else "")),
            Text("\n".join(f"{key}={_plain(value)}" for key, value in variant.settings.items())),
            f"{run.steps:,}",
            "unknown" if flops is None else f"{flops / 1e9:.3g}",
        )
    return table


def _plain(value: object) -> str:
    return json.dumps(value, default=str).replace('"', "")


@final
class Progress(Watcher):
    """Prints a line when a run begins and ends, and how many samples are done in between.

    Args:
        outcomes: of all runs, as they stand at the beginning.
        keep: writes the results; called after each run.
    """

    def __init__(self, outcomes: Sequence[Outcome], keep: Callable[[], object]) -> None:
        self._keep = keep
        self._total = len(outcomes)
        self._over = sum(outcome.status == "done" for outcome in outcomes)
        self._left = self._total - self._over
        self._began: dict[str, float] = {}
        self._since = self._looked = time.monotonic()
        self._samples = {outcome.run.name: _samples(outcome.run) for outcome in outcomes}
        whole = sum(o.run.steps * o.run.config.train.global_batch for o in outcomes)
        self._ticker = Ticker(whole, sum(self._samples.values()), _TICK_S)
        if self._over:
            _say(f"{self._over} of {self._total} runs are done already")

    def began(self, run: Run) -> None:
        """Say which."""
        self._began[run.name] = time.monotonic()
        number = self._over + len(self._began)
        what = "is measured" if is_trained(run) else f"trains for {run.steps:,} steps"
        _say(f"[{number} of {self._total}] {run.name} {what}; {run.log}")

    def ended(self, outcome: Outcome) -> None:
        """Say how, write the results, and say how long the rest takes."""
        now, run = time.monotonic(), outcome.run
        self._left -= 1
        finished = self._total - self._over - self._left
        words = [f"{run.name} {outcome.status} after {duration(now - self._began[run.name])}"]
        words += _scores(outcome)
        if self._left and outcome.status != "stopped":
            words.append(f"about {duration((now - self._since) / finished * self._left)} left")
        _say(", ".join(words) + (f": {outcome.reason}" if outcome.reason else ""))
        self._keep()

    def looks(self, running: Sequence[Run]) -> None:
        """Tell the samples that are done, seldom."""
        if time.monotonic() - self._looked < _LOOK_S:
            return
        self._looked = time.monotonic()
        self._samples |= {run.name: _samples(run) for run in running}
        # While runs are only measured the numbers stand still.
        if not all(map(is_trained, running)):
            self._ticker.tell(sum(self._samples.values()))


def _say(line: str) -> None:
    print(line, flush=True)


def _scores(outcome: Outcome) -> list[str]:
    """The first measure's, where the run is done."""
    protocol = outcome.run.measure[0].name
    found = outcome.scores.get(protocol, {}).get(TRAINED)
    return [] if found is None else [f"{protocol} {_score(found)}"]


def _score(score: Score) -> str:
    return f"{score.value:.1%}" if score.metric == ACCURACY else f"{score.value:.4g}"


def _samples(run: Run) -> int:
    """Samples that a run has trained on, by what its observers and checkpoints tell."""
    batch = run.config.train.global_batch
    if is_trained(run):
        return run.steps * batch
    try:
        with (run.folder / METRICS_FILE).open("rb") as metrics:
            metrics.seek(max(0, metrics.seek(0, 2) - _LAST_BYTES))
            lines = metrics.read().splitlines()
        return max((_step(line) for line in lines[-2:]), default=0) * batch
    except OSError:
        return 0


def _step(line: bytes) -> int:
    """The step of a line of metrics; 0 of one that is not whole."""
    try:
        step = json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return 0
    return step if isinstance(step, int) else 0
