import json
import random

import attrs
import numpy as np
import pytest
import torch
from stripes_source import Stripes

from jepa.core.collective import mean_over_processes
from jepa.core.data.held_out import HeldOut
from jepa.core.health.glossary import MEASURES
from jepa.core.health.verdict import Kind
from jepa.core.training.observer import Record
from jepa.observers.health import Health
from jepa.observers.health_batch import BatchMeasures
from jepa.observers.health_probe import ProbeConfig, affordable, divided, load_samples, of_classes
from jepa.observers.looking import looking

NO_PROBE = {"probe": ProbeConfig(every=0)}
FEW = {"known": 20, "asked": 10}


def started(run, **settings) -> Health:
    observer = Health(Health.Config(**settings))
    observer.start(run)
    return observer


def measure(run) -> dict[str, float]:
    return BatchMeasures(run, rows=2048, draws=4)()


# --- when, and what -----------------------------------------------------------------------------


def test_due_at_the_first_step_every_so_many_and_at_the_last(make_run):
    observer = started(make_run(total_steps=11), every=3, **NO_PROBE)
    due = [step for step in range(1, 12) if observer.measure(step)]
    assert due == [1, 3, 6, 9, 11]


def test_the_probe_has_steps_of_its_own_and_asks_the_initial_weights(make_run):
    observer = started(make_run(total_steps=11), every=6, probe=ProbeConfig(every=4, **FEW))
    measured = {step: observer.measure(step) for step in range(1, 12)}
    assert [step for step, found in measured.items() if "health/knn" in found] == [4, 8, 11]
    assert [step for step, found in measured.items() if "health/knn_init" in found] == [1]
    assert set(measured[4]) == {"health/knn"}


def test_every_measure_is_explained(make_run):
    observer = started(make_run(), probe=ProbeConfig(every=100, **FEW))
    names = {*observer.measure(1), *observer.measure(100)}
    assert names == {f"health/{measure.name}" for measure in MEASURES}


def test_measures_of_a_fresh_model(make_run):
    found = measure(make_run())
    for name in ("target_std", "context_std"):
        assert 0 < found[name] <= 1
    for name in ("target_rank", "context_rank", "predicted_rank"):
        assert 1 <= found[name] <= 16
    assert 1 <= found["context_lidar"] <= 5
    assert 0 < found["alignment"] < 4
    assert -8 < found["uniformity"] < 0
    assert found["ema_drift"] == 0  # the target is a copy until the first step
    assert found["explained_variance"] < 0.1
    assert found["loss"] > 0.9 * found["loss_mean"]


def test_the_fixed_batch_is_scored_as_the_objective_scores_it(make_run):
    run = make_run()
    inputs, views = run.fixed_batch()
    run.model.eval()
    with torch.no_grad():
        assert measure(run)["loss"] == pytest.approx(run.model(inputs, views).total.item())


def test_a_predictor_that_knows_the_targets_explains_them(make_run):
    run = make_run()
    inputs, views = run.fixed_batch()
    with torch.no_grad():
        goals = run.model.objective.normalise(run.model.represent(inputs, views).targets[0])
    run.model.predict = lambda *_: goals
    found = measure(run)
    assert found["explained_variance"] == pytest.approx(1)
    assert found["loss"] == pytest.approx(0, abs=1e-10)
    assert found["loss_mean"] > 0.05


def test_a_target_without_a_network_of_its_own_has_no_drift(make_run):
    run = make_run()
    run.model.target.network = run.model.backbone
    assert "ema_drift" not in measure(run)


def test_a_collapsed_target_is_seen(make_run):
    run = make_run()
    with torch.no_grad():
        run.model.target.backbone.encoder.norm.weight.zero_()
        run.model.target.backbone.encoder.norm.bias.normal_()
    found = measure(run)
    assert found["target_std"] == pytest.approx(0, abs=1e-5)
    assert found["target_rank"] == pytest.approx(1, abs=1e-3)
    assert found["context_std"] > 0.01


def test_measures_of_a_run_in_bf16_are_near_those_in_fp32(make_run):
    run = make_run()
    half = attrs.evolve(run, autocast=lambda: torch.autocast("cpu", torch.bfloat16))
    fine, coarse = measure(run), measure(half)
    assert coarse != fine
    for name in ("loss", "loss_mean", "target_std", "target_rank", "context_lidar"):
        assert coarse[name] == pytest.approx(fine[name], rel=0.05), name


def test_rows_bound_the_rank(make_run):
    assert started(make_run(), rows=3).measure(1)["health/target_rank"] <= 3


def test_non_finite_features_give_nan_a_verdict_and_no_error(make_run):
    run = make_run()
    with torch.no_grad():
        run.model.target.backbone.encoder.norm.weight.fill_(torch.nan)
    observer = started(run)
    found = observer.measure(1)
    assert np.isnan(found["health/target_rank"])
    assert np.isnan(found["health/loss"])
    assert np.isfinite(found["health/context_std"])
    remark = observer.remark(1)
    assert remark.status.startswith(Kind.DIVERGING.value)


# --- the probe ----------------------------------------------------------------------------------


def test_the_probe_tells_stripes_apart(make_run):
    run = make_run(held_out=HeldOut(Stripes(20, seed=1), "test"))
    observer = started(run, probe=ProbeConfig(every=1, known=30, asked=20))
    assert observer.measure(1)["health/knn"] > 0.9


def test_the_probe_asks_held_out_samples_where_there_are_some(make_run):
    config = ProbeConfig(known=10, asked=8)
    held = Stripes(20, seed=1)
    asked = load_samples(config, make_run(held_out=HeldOut(held, "test"))).asked.inputs
    wanted = [held.item(index).content for index in of_classes(held.labels(), np.arange(2), 8)]
    assert torch.equal(asked, torch.as_tensor(np.stack(wanted)))


def test_without_held_out_samples_it_asks_other_training_samples(make_run):
    known, asked = load_samples(ProbeConfig(known=10, asked=8), make_run())
    both = torch.cat([known.inputs, asked.inputs]).flatten(1)
    assert len(both.unique(dim=0)) == len(known.labels) + len(asked.labels) == 18
    assert known.labels.bincount().tolist() == [5, 5]


def test_the_probe_keeps_to_its_memory(make_run):
    """A sample has 64 bytes, so 2 MiB hold half of 4 MiB and leave nothing of 2^20 samples."""
    run = make_run(source=Stripes(400), held_out=HeldOut(Stripes(100, seed=1), "test"))
    wanted = 2**16
    assert affordable(ProbeConfig(known=wanted // 2, asked=wanted // 2, memory_mib=2), run) == 0.5
    assert affordable(ProbeConfig(known=40, asked=20, memory_mib=1), run) == 1
    known, asked = load_samples(ProbeConfig(known=2**17, asked=2**15, memory_mib=1), run)
    assert len(known.labels) == 400
    assert len(asked.labels) == 100


def test_without_labels_there_is_no_probe(make_run):
    observer = started(make_run(source=Stripes(labelled=False)), probe=ProbeConfig(every=1))
    assert not {"health/knn", "health/knn_init"} & observer.measure(1).keys()


def test_whoever_votes_is_not_asked():
    """Parts of a file, and people who do everything, are on one side each."""
    for labels, groups in (
        (np.repeat([0, 1], 60), np.arange(120) // 10),  # files of ten parts
        (np.arange(120) % 2, np.arange(120) // 20),  # people
        (np.arange(120) % 2, np.arange(120) // 60),  # two people
    ):
        known, asked = divided(labels, groups, np.arange(2), (100, 50))
        assert not set(groups[known]) & set(groups[asked])
        assert set(labels[known]) == set(labels[asked]) == {0, 1}
        assert len(known) >= len(asked) > 0


@pytest.mark.parametrize("groups", [np.arange(120), np.zeros(120, dtype=np.int64)])
def test_without_several_origins_other_samples_are_asked(groups):
    known, asked = divided(np.arange(120) % 2, groups, np.arange(2), (100, 50))
    assert (len(known), len(asked)) == (80, 40)
    assert not set(known) & set(asked)


def test_classes_are_spread():
    labels = np.repeat(np.arange(5), 20)
    chosen = of_classes(labels, np.array([0, 4]), 8)
    assert chosen.tolist() == [0, 5, 10, 15, 80, 85, 90, 95]


# --- what it says -------------------------------------------------------------------------------


def test_it_says_which_samples_it_looks_at(make_run):
    said = started(make_run(), **NO_PROBE).remark(1).notes
    assert len(said) == 1
    assert "training samples" in said[0]
    assert started(make_run(held_out=HeldOut(Stripes(), "test"))).remark(1) is None


def test_notes_come_once_and_the_status_stays(make_run):
    observer = started(make_run(), **NO_PROBE)
    observer.measure(1)
    first, second = observer.remark(1), observer.remark(2)
    assert first.status == second.status == Kind.WARMING_UP.value
    assert first.notes
    assert second.notes == ()


def test_a_resumed_run_measures_and_judges_as_the_whole_one(make_run, tmp_path):
    whole = started(make_run(), every=4, **NO_PROBE)
    lines = []
    for step in range(1, 9):
        metrics = {**whole.measure(step), "train/loss": 1 / step}
        whole.record(Record(step, step / 10, metrics))
        lines.append(json.dumps({"step": step, **metrics}))
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines))
    resumed = started(make_run(start_step=5), every=4, **NO_PROBE)
    for step in (6, 7, 8):
        metrics = resumed.measure(step)
        assert bool(metrics) == (step == 8)
        resumed.record(Record(step, step / 10, {**metrics, "train/loss": 1 / step}))
    for name in whole._trace.names:
        for a, b in zip(whole._trace.series(name), resumed._trace.series(name), strict=True):
            assert a.tolist() == b.tolist(), name


def test_a_damaged_record_of_the_past_is_said_and_passed_over(make_run, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('[]\n{"step": 2}\n')
    observer = started(make_run(start_step=5), **NO_PROBE)
    assert any("line 1" in note for note in observer.remark(6).notes)


# --- looking changes nothing --------------------------------------------------------------------


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

    assert started(run, probe=ProbeConfig(every=1)).measure(1)

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
    seen = set()
    for part in (run.model.predictor, run.model.backbone.encoder):
        part.register_forward_hook(
            lambda module, _, output: seen.add((module.training, output.requires_grad))
        )
    assert started(run).measure(1)
    assert seen == {(False, False)}


def test_modes_come_back_after_an_error(make_run):
    run = make_run()
    run.model.train()
    observer = started(run)

    def broken(*_):
        raise ZeroDivisionError

    run.model.prepare.forward = broken
    with pytest.raises(ZeroDivisionError):
        observer.measure(1)
    assert run.model.training


def test_other_processes_are_not_asked(make_run, monkeypatch):
    """Observers live on the first process: a collective would wait for the others for ever."""
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    asked = []
    monkeypatch.setattr("torch.distributed.all_reduce", asked.append)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    with looking(make_run()):
        assert mean_over_processes(torch.ones(2)).tolist() == [1, 1]
    assert asked == []
    assert mean_over_processes(torch.ones(2)).tolist() == [0.5, 0.5]
    assert len(asked) == 1
