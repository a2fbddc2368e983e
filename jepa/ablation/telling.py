"""What is told of a sweep besides its scores: what varied, where it ran, how far it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from jepa.ablation import facts
from jepa.ablation.costs import Expense
from jepa.ablation.machine import machine, version
from jepa.ablation.notes import notes
from jepa.ablation.outcome import Outcome
from jepa.ablation.plan import Sweep, Variant, shell
from jepa.ablation.summary import Row, Summary
from jepa.core.settings import unstructure
from jepa.core.yamlfile import to_yaml


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
        folder: from which the command was given, and in which all commands hold.
    """

    sweep: Sweep
    outcomes: tuple[Outcome, ...]
    summary: Summary
    expenses: Mapping[str, Expense]
    notes: tuple[str, ...]
    command: str
    where: str
    folder: Path

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
            "trained on": facts.trained_on(self.sweep),
            "each run": f"{length}; seeds {', '.join(map(str, config.seeds))}",
            "measured by": facts.measured_by(self.sweep),
            **facts.measured_on(self.sweep, self.outcomes),
            "reference": self.sweep.reference.label,
            "done": f"{self.done} of {len(self.sweep.runs)} runs",
        }

    @property
    def file(self) -> str:
        """The sweep's settings with the overrides of the command line, as YAML."""
        config = self.sweep.config
        overrides = (*config.overrides, *self.sweep.overrides)
        return to_yaml(unstructure(attrs.evolve(config, overrides=overrides)))

    @property
    def place(self) -> str:
        """Where the commands hold, and what to change in them."""
        return (
            f"Paths are relative to {self.folder}. To make a run anew, change its --output, and "
            "the folder that jepa eval reads: in those of this sweep all is done already."
        )

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
        command=shell(sweep.command),
        where=f"{today}; {version()}; {machine()}",
        folder=Path.cwd(),
    )
