"""What comes out of a sweep: `results.csv`, `results.md` and `report.html` in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jepa.ablation.costs import expenses
from jepa.ablation.csv_table import csv_table
from jepa.ablation.markdown import markdown
from jepa.ablation.outcome import Outcome
from jepa.ablation.page import page
from jepa.ablation.plan import Sweep
from jepa.ablation.summary import summarise
from jepa.ablation.telling import find
from jepa.core.files import write_atomic


def write_results(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[Path]:
    """Write the results as they stand, each file whole or not at all.

    Args:
        sweep: as planned; its folder is there.
        outcomes: of all its runs, in their order, whatever their status.

    Returns:
        The files.

    Raises:
        OSError: the disk refused.
    """
    spent = expenses(outcomes)
    found = find(sweep, outcomes, summarise(sweep, outcomes), spent)
    texts = {
        "results.csv": csv_table(sweep, outcomes, spent),
        "results.md": markdown(found),
        "report.html": page(found),
    }
    for name, text in texts.items():
        write_atomic(sweep.folder / name, text)
    return [sweep.folder / name for name in texts]
