import random

import numpy as np
import pytest
import torch

from jepa.observers.collapse import Collapse

NAMES = {
    "collapse/target_std",
    "collapse/predicted_std",
    "collapse/context_std",
    "collapse/target_rank",
    "collapse/predicted_rank",
}


def started(run, **settings) -> Collapse:
    observer = Collapse(Collapse.Config(**settings))
    observer.start(run)
    return observer


def test_due_at_the_first_step_and_every_so_many(make_run):
    observer = started(make_run(), every=3)
    due = [step for step in range(1, 10) if observer.measure(step)]
    assert due == [1, 3, 6, 9]


def test_a_resumed_run_measures_at_the_same_steps(make_run):
    whole, resumed = started(make_run(), every=4), started(make_run(start_step=5), every=4)
    for step in (6, 7, 8, 9):
        assert whole.measure(step) == resumed.measure(step)


def test_measures_of_a_fresh_model(make_run):
    measured = started(make_run()).measure(1)
    assert set(measured) == NAMES
    assert 0 < measured["collapse/target_std"] <= 1
    assert 0 < measured["collapse/context_std"] <= 1
    assert 1 <= measured["collapse/predicted_rank"] <= 16
    assert 1 < measured["collapse/target_rank"] <= 16


def test_collapsed_target_is_seen(make_run):
    run = make_run()
    with torch.no_grad():
        run.model.target.backbone.encoder.norm.weight.zero_()
        run.model.target.backbone.encoder.norm.bias.normal_()
    measured = started(run).measure(1)
    assert measured["collapse/target_std"] == pytest.approx(0, abs=1e-5)
    assert measured["collapse/target_rank"] == pytest.approx(1, abs=1e-3)
    assert measured["collapse/context_std"] > 0.01


def test_rows_bound_the_rank(make_run):
    assert started(make_run(), rows=3).measure(1)["collapse/target_rank"] <= 3


def test_non_finite_features_give_nan_and_no_error(make_run):
    run = make_run()
    with torch.no_grad():
        run.model.target.backbone.encoder.norm.weight.fill_(torch.nan)
    measured = started(run).measure(1)
    assert np.isnan(measured["collapse/target_rank"])
    assert np.isfinite(measured["collapse/context_std"])


def test_looking_changes_nothing(make_run):
    run = make_run()
    model = run.model.train()
    model.target.eval()
    inputs, views = run.fixed_batch()
    model(inputs, views).total.backward()
    modes = [module.training for module in model.modules()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()

    assert started(run).measure(1)

    assert modes == [module.training for module in model.modules()]
    assert True in modes
    assert False in modes
    for before, parameter in zip(grads, model.parameters(), strict=True):
        assert before is None or torch.equal(before, parameter.grad)
        assert (before is None) == (parameter.grad is None)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()


def test_looks_in_evaluation_mode_without_gradients(make_run):
    run = make_run()
    run.model.train()
    seen = []
    run.model.predictor.register_forward_hook(
        lambda module, _, output: seen.append((module.training, output.requires_grad))
    )
    assert started(run).measure(1)
    assert seen == [(False, False)]


def test_modes_come_back_after_an_error(make_run):
    run = make_run()
    run.model.train()

    def broken(*_):
        raise ZeroDivisionError

    run.model.prepare.forward = broken
    with pytest.raises(ZeroDivisionError):
        started(run).measure(1)
    assert run.model.training
