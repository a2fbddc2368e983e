"""The verdict on recorded traces of real runs, each labelled by its rank and its probe.

`benchmarks/health.py record` trains them. No label knows a recipe, and none knows the verdict.
"""

import collections

import pytest
from recorded import FOLDER, Recorded, all_recorded

from jepa.core.health.history import history
from jepa.core.health.rules import judge
from jepa.core.health.trace import HEALTH
from jepa.core.health.verdict import Kind

RUNS = all_recorded()
COLLAPSE = {Kind.COLLAPSED, Kind.COLLAPSING}


def labelled(*labels: str) -> list[Recorded]:
    return [run for run in RUNS if run.label in labels]


def kinds(run: Recorded) -> list[Kind]:
    """The verdict after each measurement, as the run's users saw it."""
    steps = run.trace.series(f"{HEALTH}target_rank").steps.tolist()
    return [judge(run.trace.until(step)).kind for step in steps]


def test_every_kind_of_run_is_there_with_five_seeds():
    recipes = collections.Counter(run.recipe for run in RUNS)
    assert {"healthy", "loss_rises", "online_identity", "low_momentum", "lr_x100"} <= {*recipes}
    assert set(recipes.values()) == {5}
    assert len(labelled("healthy")) >= 10
    assert len(labelled("collapsed")) >= 10


def test_labels_are_what_was_measured():
    for run in labelled("collapsed"):
        assert run.last["rank"] < run.first["rank"] / 2
        assert run.last["knn"] < run.first["knn"]
    for run in labelled("healthy"):
        assert run.last["knn"] > run.first["knn"]


@pytest.mark.parametrize("run", labelled("healthy"), ids=str)
def test_no_healthy_run_is_ever_called_collapsed(run):
    """Not at its end, and not at any step on the way."""
    said = kinds(run)
    assert not [kind for kind in said if kind.alarm]
    assert said[-1] in (Kind.LEARNING, Kind.HARDER)


@pytest.mark.parametrize("run", labelled("collapsed"), ids=str)
def test_every_collapsed_run_is_called_so_long_before_its_end(run):
    said = kinds(run)
    assert said[-1] in COLLAPSE
    first = next(place for place, kind in enumerate(said) if kind in COLLAPSE)
    assert first <= 0.7 * len(said)


@pytest.mark.parametrize(
    "run", [r for r in labelled("healthy") if r.recipe == "loss_rises"], ids=str
)
def test_the_most_asked_question_is_answered(run):
    """The training loss went down and then up, the features improved, and the verdict says so."""
    loss = run.trace.series("train/loss").values
    third = len(loss) // 3
    assert loss[-third:].mean() > 1.5 * loss[:third].min()
    assert kinds(run)[-1] is Kind.HARDER


@pytest.mark.parametrize("run", labelled("collapsed"), ids=str)
def test_no_collapsed_run_is_told_that_its_rising_loss_is_normal(run):
    assert Kind.HARDER not in kinds(run)


def test_an_alarm_comes_with_numbers_and_a_hint():
    for run in labelled("collapsed"):
        last = history(run.trace).now.verdict
        assert " from " in last.sentence
        assert last.hint


def test_the_traces_stay_small():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.json")) < 400_000
