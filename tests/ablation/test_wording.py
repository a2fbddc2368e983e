"""Numbers as people read them never look like something else."""

import pytest

from jepa.ablation import wording
from jepa.ablation.statistics import Estimate
from jepa.ablation.summary import Measure, Standing

SHARE, ERROR = Measure("knn", "accuracy"), Measure("ridge", "mean absolute error of angle")


def test_accuracy_is_in_percent_and_errors_are_as_they_are():
    found = Estimate(0.4123, 0.0104, 3)
    assert wording.score(SHARE, found) == "41.2 ± 1.0 (40.2 to 42.3)"
    assert wording.score(ERROR, found) == "0.412 ± 0.010 (0.402 to 0.423)"
    assert wording.score(SHARE, Estimate(0.4123, None, 1)) == "41.2"
    assert wording.score(SHARE, None) == "-"
    assert wording.title(SHARE) == "knn accuracy, %"
    assert wording.title(ERROR) == "ridge mean absolute error of angle (less is better)"


def standing(score, to_reference=None, said="unknown"):
    return Standing(
        scores={}, score=score, to_reference=to_reference, against_reference=said,
        to_best=to_reference, place="unknown", to_random=None, against_random="unknown",
    )  # fmt: skip


def test_intervals_end_where_scores_end():
    assert wording.score(SHARE, Estimate(0.9, 0.3, 2)) == "90.0 ± 30.0 (60.0 to 100.0)"
    assert wording.score(SHARE, Estimate(0.1, 0.3, 2)) == "10.0 ± 30.0 (0.0 to 40.0)"
    assert wording.score(ERROR, Estimate(1.1, 1.3, 2)) == "1.100 ± 1.300 (0.000 to 2.400)"
    assert wording.ends(SHARE, Estimate(0.9, 0.3, 2)) == (pytest.approx(0.6), 1.0)
    assert wording.ends(SHARE, Estimate(0.9, None, 2)) is None


def test_what_has_no_interval_says_why():
    alike = Estimate(0.36, None, 3)
    assert wording.score(SHARE, alike) == "36.0 (the seeds gave the same score)"
    assert wording.baseline(SHARE, alike) == "36.0"
    same = standing(alike, Estimate(0.005, None, 3))
    assert wording.against_reference(same) == "the seeds gave the same difference"
    assert wording.place(same) == "the seeds gave the same difference"
    assert wording.against_reference(standing(alike, Estimate(0.005, None, 1))) == "one seed"
    assert wording.place(standing(alike)) == "no common seed"
    assert wording.place(standing(None)) == ""
    assert wording.against_reference(standing(alike, alike, "open")) == "not told apart"


def test_an_end_near_0_does_not_look_like_0():
    assert wording.difference(SHARE, Estimate(0.0102, 0.0100, 2)) == "+1.02 (+0.02 to +2.02)"
    assert wording.difference(SHARE, Estimate(0.03, 0.02, 2)) == "+3.0 (+1.0 to +5.0)"
    assert wording.difference(SHARE, Estimate(-0.03, 0.02, 2)) == "-3.0 (-5.0 to -1.0)"
    assert wording.difference(SHARE, Estimate(0.0, 0.0, 2)) == "0.0 (0.0 to 0.0)"
    assert wording.difference(SHARE, Estimate(-1e-9, None, 1)) == "0.0000"


def test_distances_have_no_sign():
    assert wording.apart(SHARE, Estimate(-0.03, 0.02, 2)) == "3.0 (95%: 1.0 to 5.0)"
    assert wording.apart(ERROR, Estimate(0.03, None, 1)) == "0.030"


@pytest.mark.parametrize(
    ("flops", "text"),
    [
        (1.8e8, "0.180 GFLOPs"),
        (3.22e9, "3.22 GFLOPs"),
        (4.6e11, "460 GFLOPs"),
        (6.5e13, "65.0 TFLOPs"),
        (2e15, "2.00 PFLOPs"),
        (None, "not counted"),
    ],
)
def test_operations(flops, text):
    assert wording.operations(flops) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(9.04, "9.04 s"), (200.4, "3 min 20 s"), (9000, "2 h 30 min"), (None, "not measured")],
)
def test_durations(seconds, text):
    assert wording.duration(seconds) == text
