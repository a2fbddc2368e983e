"""Each rule on traces made by hand: it fires where it should, and not a step before."""

import math
from collections.abc import Mapping, Sequence

import pytest

from jepa.core.health.history import history
from jepa.core.health.rules import Thresholds, judge
from jepa.core.health.trace import Trace
from jepa.core.health.verdict import Kind, Verdict

EVERY = 100
SOUND = {"loss": 0.2, "loss_mean": 0.4, "target_rank": 30.0, "target_std": 0.8}


def trace(number: int, more: Mapping[str, Sequence[float]] | None = None) -> Trace:
    """Measurements at step 1 and every 100 steps; `more` gives values in their order.

    Names without a slash are measures of the observer `health`.
    """
    made, more = Trace(), more or {}
    for place in range(number):
        scalars = {**SOUND, **{name: values[place] for name, values in more.items()}}
        named = {name if "/" in name else f"health/{name}": v for name, v in scalars.items()}
        made.add(max(1, place * EVERY), named)
    return made


def kind(number: int, **more: Sequence[float]) -> Kind:
    return judge(trace(number, more)).kind


def verdict(number: int, more: Mapping[str, Sequence[float]]) -> Verdict:
    return judge(trace(number, more))


def test_a_sound_run_warms_up_and_learns():
    assert [kind(number) for number in range(7)] == [Kind.WARMING_UP] * 4 + [Kind.LEARNING] * 3


def test_it_warms_up_as_long_as_the_learning_rate_rises():
    rising = [0.1 * place for place in range(8)]
    assert verdict(8, {"schedule/lr": rising}).kind is Kind.WARMING_UP
    assert verdict(8, {"schedule/lr": [*rising[:7], 0.5]}).kind is Kind.LEARNING
    assert verdict(8, {"schedule/lr": [0.1] * 8}).kind is Kind.LEARNING


def test_collapse_is_said_while_the_learning_rate_rises():
    more = {"schedule/lr": [float(n) for n in range(8)], "target_std": [0.8] * 3 + [0.05] * 5}
    assert verdict(8, more).kind is Kind.COLLAPSED


def test_a_rank_of_nothing_is_judged_all_the_same():
    said = verdict(8, {"target_rank": [0.0] * 8, "target_std": [0.8] + [0.0] * 7})
    assert said.kind is Kind.COLLAPSED


def test_a_k_nn_of_better_days_excuses_no_collapse():
    fell = {"target_rank": [50.0] * 5 + [2.0] * 7, "knn_init": [0.3] * 12}
    assert verdict(12, {**fell, "knn": [0.5] * 12}).kind is Kind.LEARNING
    assert verdict(12, {**fell, "knn": [0.5] * 11 + [0.1]}).kind is Kind.COLLAPSED


def test_a_probe_of_few_samples_must_fall_further():
    fell = {"knn_init": [0.5] * 9, "knn": [0.42] * 9}
    assert verdict(9, fell).kind is Kind.COLLAPSING
    assert verdict(9, {**fell, "knn_asked": [400.0] * 9}).kind is Kind.COLLAPSING
    assert verdict(9, {**fell, "knn_asked": [20.0] * 9}).kind is Kind.LEARNING


def test_a_run_that_ends_by_skipped_steps_ends_diverging():
    """Twenty of them stop a run, and measurements are rarer."""
    made = trace(7)
    for step in (610, 620):
        made.add(step, {"train/loss": math.nan, "train/bad_steps_in_a_row": step - 601.0})
    assert history(made).now.step == 620
    assert history(made).now.verdict.kind is Kind.DIVERGING


def test_a_falling_rank_is_said_with_its_numbers_and_what_to_try():
    said = verdict(9, {"target_rank": [50, 63, 60, 50, 30, 20, 30, 30, 30]})
    assert said.kind is Kind.COLLAPSING
    assert said.sentence == "collapsing: rank fell from 63 to 30"
    assert said.hint.startswith("try ")
    assert said.advice == f"{said.sentence}; {said.hint}"
    assert said.evidence["best_target_rank"] == 63
    gone = verdict(9, {"target_rank": [50, 63, 60, 50, 30, 20, 10, 4, 3]})
    assert gone.kind is Kind.COLLAPSED
    assert gone.sentence == "collapsed: rank fell from 63 to 4"


def test_a_spread_that_was_small_from_the_start_is_no_collapse():
    assert kind(8, target_std=[0.12] * 8) is Kind.LEARNING
    assert kind(8, target_std=[0.3] * 2 + [0.12] * 6) is Kind.COLLAPSED
    said = verdict(8, {"target_std": [0.8] * 3 + [0.12] * 5})
    assert said.sentence == "collapsed: the spread of tokens fell from 0.8 to 0.12"


def test_one_measurement_alone_is_no_alarm():
    assert kind(8, target_rank=[60.0] * 7 + [1.0]) is Kind.LEARNING
    assert kind(8, target_std=[0.8] * 7 + [0.0]) is Kind.LEARNING
    assert kind(8, target_rank=[60.0] * 6 + [1.0] * 2) is Kind.COLLAPSED


def test_a_rank_that_dips_early_and_comes_back_is_no_alarm():
    """As healthy runs do: initial features have a high rank."""
    ranks = [30.0, 26, 24, 23.5, 24.8, 27, 30, 33, 36]
    for number in range(1, 10):
        assert kind(number, target_rank=ranks) in (Kind.WARMING_UP, Kind.LEARNING)


def test_an_alarm_does_not_flicker():
    """A rank about its threshold stays an alarm until it has clearly come back."""
    ranks = [100.0] * 5 + [55.0] * 3 + [62.0] * 3 + [58.0] * 3 + [65.0] * 3 + [75.0] * 3
    said = [turn.verdict.kind for turn in history(trace(20, {"target_rank": ranks})).turns]
    assert said == [Kind.WARMING_UP, Kind.LEARNING, Kind.COLLAPSING, Kind.LEARNING]
    never = [100.0] * 5 + [65.0] * 15
    assert kind(20, target_rank=never) is Kind.LEARNING


def test_fewer_directions_are_no_collapse_where_the_probe_says_that_features_are_better():
    falling = [60.0, 50, 40, 30, 25, 20, 18, 17]
    better = {"knn": [0.4, 0.42, 0.45, 0.5, 0.55, 0.6, 0.6, 0.6], "knn_init": [0.4] * 8}
    assert verdict(8, {"target_rank": falling, **better}).kind is Kind.LEARNING
    same = {"knn": [0.4] * 8, "knn_init": [0.4] * 8}
    assert verdict(8, {"target_rank": falling, **same}).kind is Kind.COLLAPSED


def test_a_probe_below_that_of_initial_weights_is_an_alarm():
    said = verdict(8, {"knn": [0.4, 0.4, 0.4, 0.38, 0.3, 0.3, 0.3, 0.3], "knn_init": [0.4] * 8})
    assert said.kind is Kind.COLLAPSING
    assert said.sentence == "collapsing: k-NN fell from 0.400 at the start to 0.300"
    assert kind(8, knn=[0.38] * 8, knn_init=[0.4] * 8) is Kind.LEARNING


@pytest.mark.parametrize("name", ["loss", "train/loss"])
def test_what_is_not_finite_diverges_at_once(name):
    said = verdict(2, {name: [0.3, math.nan]})
    assert said.sentence == "diverging: the loss is not finite"
    assert verdict(3, {name: [0.3, math.inf, 0.3]}).kind is Kind.WARMING_UP


def test_skipped_steps_in_a_row_diverge():
    name = "train/bad_steps_in_a_row"
    assert verdict(6, {name: [0, 0, 0, 0, 0, 3]}).kind is Kind.DIVERGING
    assert verdict(6, {name: [0, 0, 3, 0, 0, 1]}).kind is Kind.LEARNING


def test_a_predictor_that_becomes_worse_than_the_mean_diverges():
    said = verdict(8, {"loss": [0.2] * 5 + [1.0] * 3})
    assert said.kind is Kind.DIVERGING
    assert "2.5 times" in said.sentence
    assert kind(8, loss=[0.2] * 6 + [1.0] * 2) is Kind.LEARNING


def test_a_predictor_no_better_than_the_mean():
    assert kind(8, loss=[0.4] * 8) is Kind.MEAN
    assert kind(8, loss=[0.4] * 5 + [0.4, 0.35, 0.4]) is Kind.LEARNING


# --- the loss went down and then up -------------------------------------------------------------

DOWN_AND_UP = [0.5, 0.4, 0.3, 0.25, 0.2, 0.2, 0.2, 0.22, 0.25, 0.28, 0.3, 0.3]


def test_a_rising_loss_with_a_rising_rank_is_normal():
    ranks = [20.0, 20, 20, 20, 20, 20, 21, 22, 24, 26, 28, 30]
    said = verdict(12, {"train/loss": DOWN_AND_UP, "target_rank": ranks})
    assert said.kind is Kind.HARDER
    assert said.sentence == (
        "loss rising while the features improve (normal: the targets got harder)"
    )
    assert said.evidence["least_training_loss"] == pytest.approx(0.2)


def test_a_rising_loss_with_a_rising_probe_is_normal():
    probe = {"knn": [0.4] * 6 + [0.42, 0.44, 0.46, 0.5, 0.5, 0.5], "knn_init": [0.4] * 12}
    assert verdict(12, {"train/loss": DOWN_AND_UP, **probe}).kind is Kind.HARDER


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"target_rank": [30.0] * 7 + [29.0, 28, 27, 26, 25]},
        {"target_rank": [40.0] + [20.0] * 7 + [22.0, 24, 26, 28]},
        {
            "target_rank": [20.0] * 8 + [22.0, 24, 26, 28],
            "knn": [0.37] * 12,
            "knn_init": [0.4] * 12,
        },
    ],
    ids=["nothing moves", "rank falls", "rank is low", "probe is below the initial weights"],
)
def test_a_rising_loss_is_not_called_normal_without_a_reason(more):
    assert verdict(12, {"train/loss": DOWN_AND_UP, **more}).kind is not Kind.HARDER


def test_noise_is_no_rising_loss():
    noisy = [0.5, 0.4, 0.3, 0.2, 0.21, 0.2, 0.19, 0.2, 0.21, 0.2, 0.2, 0.2]
    ranks = [20.0 + place for place in range(12)]
    assert verdict(12, {"train/loss": noisy, "target_rank": ranks}).kind is Kind.LEARNING


# --- the course ---------------------------------------------------------------------------------


def test_history_tells_when_the_verdict_changed():
    made = trace(12, {"target_rank": [60.0] * 8 + [30.0] * 4})
    found = history(made)
    assert [(turn.step, turn.verdict.kind) for turn in found.turns] == [
        (1, Kind.WARMING_UP),
        (400 - EVERY, Kind.LEARNING),
        (900, Kind.COLLAPSING),
    ]
    assert found.now.step == 1100
    assert found.now.verdict == judge(made)


def test_a_long_history_ends_with_the_last_measurement():
    found = history(trace(1000))
    assert found.now.step == 999 * EVERY
    assert [turn.verdict.kind for turn in found.turns] == [Kind.WARMING_UP, Kind.LEARNING]


def test_thresholds_can_be_set():
    limits = Thresholds(collapsing_rank=0.9)
    made = trace(8, {"target_rank": [30.0] * 4 + [25.0] * 4})
    assert judge(made).kind is Kind.LEARNING
    assert judge(made, limits).kind is Kind.COLLAPSING


def test_measures_without_trivial_ones_give_a_verdict():
    """A stranger's trace, or one of an older version, may lack some."""
    made = Trace()
    for step in range(1, 9):
        made.add(step, {"health/target_rank": 30.0})
    assert judge(made).kind is Kind.LEARNING


def test_a_trace_without_measures_warms_up():
    assert judge(Trace()).kind is Kind.WARMING_UP
    made = Trace()
    made.add(10, {"train/loss": 0.5})
    assert judge(made).kind is Kind.WARMING_UP
