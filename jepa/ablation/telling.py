"""What is told of a sweep besides its scores: what varied, where it ran, how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import attrs

from jepa.ablation.costs import Expense
from jepa.ablation.machine import machine, version
from jepa.ablation.notes import notes
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep, Variant, shell
from jepa.ablation.summary import Row, Summary


@attrs.frozen(kw_only=True)
class Findings:
    """Everything that the table and the page tell.

    Args:
        sweep: as planned.
        outcomes: of its runs, in their order.
        summary: of the outcomes.
        expenses: by the name of the run.
        notes: sentences about what can be concluded.
        command: that made this, as a shell takes it.
        where: date, version and machine.
    """

    sweep: Sweep
    outcomes: tuple[Outcome, ...]
    summary: Summary
    expenses: Mapping[str, Expense]
    notes: tuple[str, ...]
    command: str
    where: str

    @property
    def title(self) -> str:
        """What the sweep is called: the name of its folder."""
        return f"Ablation {self.sweep.folder.resolve().name}"

    @property
    def done(self) -> int:
        """Runs that are done."""
        return sum(outcome.status == "done" for outcome in self.outcomes)

    @property
    def facts(self) -> dict[str, str]:
        """What varied and what did not, for people."""
        config = self.sweep.config
        budget = config.budget
        length = f"{budget.samples:,} samples" if budget.samples else f"{budget.steps:,} steps"
        return {
            "varied": f"{', '.join(config.vary)}: {len(self.sweep.variants)} variants",
            "base": " ".join((config.base, *config.overrides, *self.sweep.overrides)),
            "each run": f"{length}; seeds {', '.join(map(str, config.seeds))}",
            "reference": self.sweep.reference.label,
            "done": f"{self.done} of {len(self.sweep.runs)} runs",
        }

    def seeds(self, row: Row) -> str:
        """How many seeds of a variant are done: `3`, or `2 of 3`."""
        asked = len(self.sweep.config.seeds)
        return str(asked) if row.done == asked else f"{row.done} of {asked}"

    def of(self, variant: Variant) -> list[Outcome]:
        """The outcomes of a variant."""
        return [outcome for outcome in self.outcomes if outcome.run.variant == variant]

    def spent(self, variant: Variant) -> list[Expense]:
        """What the runs of a variant have cost that are done."""
        done = [outcome for outcome in self.of(variant) if outcome.status == "done"]
        return [self.expenses[outcome.run.name] for outcome in done]


def find(
    sweep: Sweep,
    outcomes: Sequence[Outcome],
    summary: Summary,
    expenses: Mapping[str, Expense],
) -> Findings:
    """Put together what is told."""
    today = datetime.now(UTC).date().isoformat()
    return Findings(
        sweep=sweep,
        outcomes=tuple(outcomes),
        summary=summary,
        expenses=expenses,
        notes=tuple(notes(sweep, outcomes, summary)),
        command=_command(sweep),
        where=f"{today}; {version()}; {machine()}",
    )


def _command(sweep: Sweep) -> str:
    """The command that made the sweep; where none did, what it would look like."""
    made = ("ablate", "--config", "FILE", "--output", str(sweep.folder), *sweep.overrides)
    return shell(sweep.command or made)
