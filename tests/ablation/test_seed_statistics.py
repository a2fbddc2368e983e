"""Means, paired differences and verdicts, beside numbers from tables and by hand."""

import math

import pytest

from jepa.ablation.statistics import Estimate, estimate, paired, same, student, verdict

# Student's 97.5% points as printed in tables.
TABLE = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
TABLE |= {10: 2.228, 15: 2.131, 20: 2.086, 29: 2.045, 30: 2.042, 60: 2.000, 120: 1.980}


@pytest.mark.parametrize("degrees", TABLE)
def test_students_points_are_those_of_the_tables(degrees):
    assert student(degrees) == pytest.approx(TABLE[degrees], abs=6e-4)


def test_students_point_nears_that_of_the_normal_distribution():
    assert student(5000) == pytest.approx(1.95996, abs=1e-3)


def test_one_degree_is_cauchys_distribution():
    assert student(1) == pytest.approx(math.tan(0.475 * math.pi), rel=1e-9)


def test_a_mean_and_its_interval_by_hand():
    # 1, 2, 6: mean 3, variance (4 + 1 + 9) / 2 = 7, standard error sqrt(7 / 3).
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == pytest.approx(3.0)
    assert found.half == pytest.approx(4.3027 * math.sqrt(7 / 3), rel=1e-4)
    assert (found.low, found.high) == (3.0 - found.half, 3.0 + found.half)
    assert found.n == 3


def test_one_seed_has_no_interval_and_none_has_no_mean():
    assert estimate([0.4]) == Estimate(0.4, None, 1)
    assert estimate([0.4]).low is None
    assert estimate([]) is None


@pytest.mark.parametrize("values", [[0.36, 0.36], [0.1 + 0.2, 0.3, 0.3], [0.0, 0.0]])
def test_seeds_that_agree_by_chance_give_no_interval(values):
    found = estimate(values)
    assert (found.half, found.n) == (None, len(values))
    assert found.mean == pytest.approx(values[0])


def test_equal_differences_prove_nothing():
    # Each is half a percent, but not to the last digit.
    found = paired({0: 0.015, 1: 0.365}, {0: 0.01, 1: 0.36})
    assert 0.015 - 0.01 != 0.365 - 0.36
    assert found.half is None
    assert verdict(found, more_is_better=True) == "unknown"


def test_a_difference_that_is_rounded_away_is_none():
    found = paired({0: 0.3, 1: 0.1}, {0: 0.1, 1: 0.3})
    assert found.mean == 0.0
    assert paired({0: 0.7, 1: 0.1}, {0: 0.6, 1: 0.2}).mean == 0.0
    assert same(0.1 + 0.2, 0.3)
    assert not same(0.3001, 0.3)


def test_pairs_are_of_the_same_seed():
    # Each seed moves both alike: pairs agree though the scores do not.
    values, reference = {0: 0.50, 1: 0.70, 2: 0.60}, {2: 0.59, 0: 0.48, 1: 0.67, 7: 0.0}
    found = paired(values, reference)
    assert found.mean == pytest.approx(0.02)  # of 0.02, 0.03, 0.01
    assert found.half == pytest.approx(4.3027 * 0.01 / math.sqrt(3), rel=1e-4)
    assert verdict(found, more_is_better=True) == "open"  # 0.02 - 0.0248 < 0
    assert paired({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("difference", "more", "less"),
    [
        (Estimate(0.03, 0.02, 3), "better", "worse"),
        (Estimate(-0.03, 0.02, 3), "worse", "better"),
        (Estimate(0.02, 0.03, 3), "open", "open"),
        (Estimate(-0.02, 0.02, 3), "open", "open"),  # 0 is the end of the interval
        (Estimate(0.5, None, 2), "unknown", "unknown"),
        (Estimate(0.3, None, 1), "unknown", "unknown"),
        (None, "unknown", "unknown"),
    ],
)
def test_an_interval_that_holds_0_decides_nothing(difference, more, less):
    assert verdict(difference, more_is_better=True) == more
    assert verdict(difference, more_is_better=False) == less


def test_the_interval_holds_the_truth_19_times_of_20():
    """Coverage over many small samples of a known mean."""
    from jepa.core.rng import SampleRng, Stream

    draws = SampleRng(0, 0, 0, Stream.EVALUATION).uniforms(4000 * 3 * 12).reshape(4000, 3, 12)
    samples = draws.sum(2) - 6.0  # nearly normal, mean 0, deviation 1
    held = sum(abs(found.mean) <= found.half for found in map(estimate, samples.tolist()))
    assert held / 4000 == pytest.approx(0.95, abs=0.012)
