"""What runs cost: counted at the masks' mean sizes, and timed by the median rate."""

from __future__ import annotations

import made_up
import pytest

from jepa.ablation import costs
from jepa.ablation.courses import knn, losses, mean
from jepa.ablation.outcome import Outcome
from jepa.core.config import load_run
from jepa.core.training import cost


def test_operations_are_those_of_the_mean_masks_and_not_of_the_first():
    seeds = [load_run("image/quickstart", [f"train.seed={seed}"]) for seed in range(3)]
    first = [cost.count(config).flops_per_sample for config in seeds]
    found = [costs.flops_per_sample(config) for config in seeds]
    assert max(first) / min(first) > 1.1
    assert max(found) / min(found) < 1.05


def test_the_mean_of_one_size_is_that_size():
    config = load_run("image/quickstart", ["masks.0.keep=16"])
    one, many = cost.count(config), cost.count(config, steps=20)
    assert one.context_tokens == many.context_tokens == (16,)


def test_a_run_that_paused_is_timed_by_its_median_rate(tmp_path):
    made = made_up.sweep(tmp_path, ["a"], seeds=[0])
    run = made.runs[0]
    assert costs.train_seconds(run.folder, 400) is None
    made_up.write_metrics(run, [100.0, 0.1, 100.0])
    assert costs.train_seconds(run.folder, 400) == pytest.approx(4.0)


def test_seeds_are_counted_once(tmp_path, monkeypatch):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1, 2])
    asked = []
    monkeypatch.setattr(costs, "flops_per_sample", lambda config: asked.append(config) or 5.0)
    spent = costs.expenses([Outcome(run=run, status="stopped", step=7) for run in made.runs])
    assert len(asked) == 2
    assert spent["b/seed2"].samples == 7 * 8
    assert spent["b/seed2"].flops == 7 * 8 * 5.0
    assert costs.mean_seconds(list(spent.values())) is None


def test_a_sweep_counts_each_variant_once_however_often_it_writes(tmp_path, monkeypatch):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0, 1], vary={"train.global_batch": [7, 9]})
    asked = []

    def count(config, steps):
        asked.append(config.train.global_batch)
        raise RuntimeError("cannot be counted on the meta device")

    monkeypatch.setattr(costs.cost, "count", count)
    for _ in range(3):
        spent = costs.expenses([Outcome(run=run, status="waiting") for run in made.runs])
    assert asked == [7, 9]
    assert spent["a/seed0"].flops is None


def test_courses_are_over_samples_and_means_over_whole_runs(tmp_path):
    made = made_up.sweep(tmp_path, ["a"], seeds=[0, 1, 2])
    for run, length in zip(made.runs, (4, 4, 2), strict=True):
        made_up.write_metrics(run, [50.0] * length, torn='{"step": 4')
    found = losses([Outcome(run=run, status="stopped") for run in made.runs])
    assert [course.samples.tolist() for course in found][::2] == [[80, 160, 240, 320], [80, 160]]
    middle = mean(found)
    assert middle.samples.tolist() == [80, 160, 240, 320]
    assert middle.values[0] == pytest.approx(1.005)  # of 1.00 and 1.01, not of 1.02
    online = knn([Outcome(run=made.runs[0], status="stopped")])[0]
    assert (online.samples[0], online.values[0]) == (0, 0.4)
    assert online.values[1] == pytest.approx(0.45)
