"""The table of a made-up sweep, with numbers by hand, and the sentences that it allows."""

from __future__ import annotations

import math

import attrs
import made_up
import pytest

from jepa.ablation.notes import notes
from jepa.ablation.outcome import Outcome
from jepa.ablation.summary import summarise

SCORES = {"a": [0.50, 0.52, 0.51], "b": [0.47, 0.50, 0.47], "c": [0.51, 0.51, 0.50]}
# b - a is -0.03, -0.02, -0.04: mean -0.03, deviation 0.01.
HALF = 4.3027 * 0.01 / math.sqrt(3)
ERROR = "mean absolute error of angle"


def stood(made, found):
    """Standings by label, for k-NN."""
    return {row.variant.label: row.standings["knn"] for row in summarise(made, found).rows}


def said(made, found):
    return "\n".join(notes(made, found, summarise(made, found)))


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    return made_up.sweep(tmp_path_factory.mktemp("sweep"), ["a", "b", "c"])


def test_means_differences_and_places(three):
    rows = stood(three, made_up.outcomes(three, SCORES))
    assert rows["a"].score.mean == pytest.approx(0.51)
    assert rows["a"].score.half == pytest.approx(HALF, rel=1e-4)
    assert (rows["a"].place, rows["b"].place, rows["c"].place) == ("best", "behind", "level")
    assert rows["a"].to_reference is None
    assert rows["b"].to_reference.mean == pytest.approx(-0.03)
    assert rows["b"].to_reference.half == pytest.approx(HALF, rel=1e-4)
    assert rows["b"].against_reference == "worse"
    assert rows["c"].to_reference.mean == pytest.approx(-0.01 / 3)
    assert rows["c"].against_reference == "open"
    assert rows["b"].to_best == rows["b"].to_reference


def test_of_errors_the_least_is_the_best(three):
    rows = stood(three, made_up.outcomes(three, SCORES, ERROR))
    assert (rows["a"].place, rows["b"].place, rows["c"].place) == ("behind", "best", "level")
    assert rows["b"].against_reference == "better"
    assert rows["c"].to_best.mean == pytest.approx(0.08 / 3)


def test_what_is_better_only_on_the_mean_is_not_called_better(three):
    # c - a is 0.10, 0.01, 0.00, whose interval holds 0; the best mean is c's all the same.
    scores = {**SCORES, "c": [0.60, 0.53, 0.51]}
    rows = stood(three, made_up.outcomes(three, scores))
    assert rows["c"].place == "best"
    assert rows["c"].against_reference == "open"
    assert rows["a"].place == "level"
    text = said(three, made_up.outcomes(three, scores))
    assert "c and a are not told apart: the difference is +3.7 (-10.0 to +17.3)." in text
    assert "c is above" not in text


def test_only_finished_seeds_count_and_pairs_are_of_common_ones(three):
    found = made_up.outcomes(three, SCORES)
    failed = [
        attrs.evolve(o, status="failed", reason="no disk", scores={})
        if (o.run.variant.label, o.run.seed) in (("a", 0), ("b", 2))
        else o
        for o in found
    ]
    rows = {row.variant.label: row for row in summarise(three, failed).rows}
    assert [rows[label].done for label in "abc"] == [2, 2, 3]
    assert rows["a"].standings["knn"].score.mean == pytest.approx(0.515)
    # Seed 1 alone is common to a and b.
    difference = rows["b"].standings["knn"]
    assert (difference.to_reference.n, difference.to_reference.half) == (1, None)
    assert difference.against_reference == "unknown"
    assert difference.place == "unknown"
    text = said(three, failed)
    assert "7 of 9 runs are done" in text
    assert "b is below a by 2.0 with one seed, from which nothing can be concluded" in text
    assert "no interval to compare it with: b" in text


def test_one_seed_calls_nothing_better(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[4])
    found = made_up.outcomes(made, {"a": [0.2], "b": [0.9]})
    rows = stood(made, found)
    assert rows["b"].score.half is None
    assert (rows["b"].place, rows["a"].place) == ("best", "unknown")
    assert rows["b"].against_reference == "unknown"
    text = said(made, found)
    assert "With one seed there are no intervals, and nothing is called better or worse." in text
    assert "b is" not in text


def test_sentences_say_how_far_and_how_sure(three):
    text = said(three, made_up.outcomes(three, SCORES))
    assert "On knn the best mean is that of a; not told apart from it: c; behind it: b." in text
    assert "On knn, b is below a by 3.0 (95%: 0.5 to 5.5)." in text
    assert "On knn, c and a are not told apart: the difference is -0.3 (-3.2 to +2.5)." in text
    # Trained a minus its untrained network, 0.50 - 0.30 and so on: 0.20, 0.21, 0.19.
    told = "better than their own untrained network: a (+20.0), b (+17.0), c (+19.7)."
    assert f"On knn, {told}" in text
    assert "nothing is corrected for that" in text
    errors = said(three, made_up.outcomes(three, SCORES, ERROR))
    assert "On knn, b is better than a by 0.030 (95%: 0.005 to 0.055)." in errors
    told = "untrained network: none; worse than it: a (+0.200), b (+0.170), c (+0.197)."
    assert told in errors


def test_a_difference_without_spread_is_called_nothing(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1])
    found = made_up.outcomes(made, {"a": [0.36, 0.41], "b": [0.365, 0.415]})
    b = stood(made, found)["b"]
    assert (b.against_reference, b.place) == ("unknown", "best")
    assert stood(made, found)["a"].place == "unknown"
    text = said(made, found)
    assert "b is above a by 0.5 with each of 2 seeds alike, from which nothing can be conc" in text
    assert "that happens by chance and proves nothing" in text


def test_what_ties_is_told_as_a_tie(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b", "c"], seeds=[0, 1])
    scores = {"a": [0.3, 0.1 + 0.2], "b": [0.3, 0.3], "c": [0.2, 0.4]}
    rows = stood(made, made_up.outcomes(made, scores))
    assert [rows[label].place for label in "abc"] == ["best", "best", "best"]
    text = said(made, made_up.outcomes(made, scores))
    assert "On knn the best mean is that of a and b and c." in text
    assert "On knn, b equals a with each of 2 seeds alike" in text
    assert "c and a are not told apart: the difference is 0.0 (-" in text
    assert "below" not in text


def test_all_variants_are_told_beside_their_untrained_networks(three):
    # Untrained: 0.30, 0.31, 0.32.
    scores = {"a": [0.50, 0.52, 0.51], "b": [0.30, 0.33, 0.31], "c": [0.20, 0.22, 0.21]}
    text = said(three, made_up.outcomes(three, scores))
    assert (
        "On knn, better than their own untrained network: a (+20.0); not told apart from it: "
        "b (+0.3); worse than it: c (-10.0)."
    ) in text


def test_a_score_counts_though_another_protocol_failed(three):
    found = [
        attrs.evolve(o, status="failed", reason="linear: broken") if o.run.seed == 2 else o
        for o in made_up.outcomes(three, SCORES)
    ]
    rows = {row.variant.label: row for row in summarise(three, found).rows}
    assert rows["a"].done == 2
    assert rows["a"].standings["knn"].score.n == 3


def test_raw_content_is_one_where_only_the_networks_differ(tmp_path):
    vary = {"model.encoder.depth": [1, 2]}
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1], vary=vary, reference="b")
    found = [
        made_up.done(
            run, trained=0.5, **({"raw_baseline": 0.2} if run.variant.label == "a" else {})
        )
        for run in made.runs
    ]
    assert summarise(made, found).baselines["raw baseline"]["knn"].mean == pytest.approx(0.2)


def test_two_variants_are_one_comparison(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1])
    found = made_up.outcomes(made, {"a": [0.5, 0.6], "b": [0.4, 0.5]})
    text = said(made, found)
    assert "corrected" not in text
    assert "With two seeds intervals are wide" in text


def test_baselines_are_the_references_though_another_run_measured_them(three):
    found = made_up.outcomes(three, SCORES)
    summary = summarise(three, found)
    assert summary.baselines["random init"]["knn"].mean == pytest.approx(0.31)
    assert summary.baselines["raw baseline"]["knn"].mean == pytest.approx(0.35)
    assert summary.baselines["raw baseline"]["knn"].half is None
    assert summary.one_start
    assert summary.one_content
    assert "differ between variants" not in said(three, found)
    # c is no first run of its seed, so it borrows.
    assert stood(three, found)["c"].to_random.mean == pytest.approx(0.59 / 3)


def test_networks_of_their_own_have_baselines_of_their_own(tmp_path):
    vary = {"model.encoder.depth": [1, 2]}
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1], vary=vary, reference="b")
    assert all(run.baselines for run in made.runs)
    found = [
        made_up.done(run, trained=0.5, random_init=0.1 if run.variant.label == "a" else 0.4)
        for run in made.runs
    ]
    summary = summarise(made, found)
    assert summary.baselines["random init"]["knn"].mean == pytest.approx(0.4)
    assert not summary.one_start
    assert summary.one_content
    assert "Untrained networks differ between variants; that in the table is of b" in (
        said(made, found)
    )


def test_before_any_run_there_is_nothing_to_say(three):
    waiting = [Outcome(run=run, status="waiting") for run in three.runs]
    summary = summarise(three, waiting)
    assert summary.measures == ()
    assert "0 of 9 runs are done" in said(three, waiting)
