"""From a file to runs: combinations, labels, commands, and everything that is refused before."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch
from fake_jepa import TINY

from jepa import cli
from jepa.ablation.plan import Sweep, plan, shell
from jepa.ablation.settings import AblationConfig, load_ablation
from jepa.core.build import build
from jepa.core.config import load_run
from jepa.core.data.order import Order
from jepa.core.errors import ConfigError
from jepa.core.settings import structure, unstructure
from jepa.core.training import distributed, session
from jepa.core.training.plan import Plan
from jepa.core.yamlfile import config_path

MASKS = [{"name": "multiblock", "min_keep": 4}, {"name": "multiblock", "min_keep": 4, "keep": 8}]
SHIPPED = sorted(p.stem for p in config_path("ablations/masks").parent.glob("*.yaml"))


def settings(vary: dict, **more: object) -> AblationConfig:
    given = {"base": "image/quickstart", "budget": {"samples": 80}, "vary": vary, **more}
    return structure(given, AblationConfig, "sweep")


def planned(vary: dict, *overrides: str, folder: str = "out", **more: object) -> Sweep:
    return plan(settings(vary, **more), Path(folder), [*TINY, *overrides])


def labels(vary: dict, **more: object) -> list[str]:
    return [variant.label for variant in planned(vary, **more).variants]


def faults(vary: dict, *overrides: str, **more: object) -> dict[str, str]:
    """What is refused, by its place."""
    with pytest.raises(ConfigError) as caught:
        planned(vary, *overrides, **more)
    return {fault.path: fault.message for fault in caught.value.faults}


# --- variants ------------------------------------------------------------------------------------


def test_a_grid_has_every_combination_and_seeds_come_outermost():
    sweep = planned({"masks.0": MASKS, "optim.lr": [1e-3, 2e-3]}, seeds=[0, 3])
    assert [dict(v.settings) for v in sweep.variants] == [
        {"masks.0": masks, "optim.lr": lr} for masks in MASKS for lr in (1e-3, 2e-3)
    ]
    assert [(run.variant, run.seed) for run in sweep.runs] == [
        (variant, seed) for seed in (0, 3) for variant in sweep.variants
    ]
    assert [run.config.train.seed for run in sweep.runs] == [0] * 4 + [3] * 4
    assert sweep.runs[1].config.optim.lr == 2e-3
    assert sweep.runs[2].config.masks[0].config.keep == 8


def test_paired_lists_go_in_step():
    sweep = planned({"masks.0": MASKS, "optim.lr": [1e-3, 2e-3]}, combine="paired")
    assert [(v.settings["masks.0"], v.settings["optim.lr"]) for v in sweep.variants] == [
        (MASKS[0], 1e-3),
        (MASKS[1], 2e-3),
    ]


def test_the_budget_is_the_same_for_every_batch():
    sweep = planned({"train.global_batch": [8, 16]})
    assert [run.steps for run in sweep.runs] == [10, 5]
    for run in sweep.runs:
        assert (run.config.train.epochs, run.config.train.max_steps) == (None, run.steps)
    assert {run.steps for run in planned({"optim.lr": [1, 2]}, budget={"steps": 7}).runs} == {7}


def test_labels_are_short_and_unlike():
    assert labels({"masks.0": MASKS}) == ["multiblock", "multiblock keep=8"]
    assert labels({"optim.lr": [1e-3, 2e-3]}) == ["lr 0.001", "lr 0.002"]
    assert labels({"masks.0.target_scale": [[0.1, 0.2]]}) == ["target_scale 0.1-0.2"]
    assert labels({"model.encoder.depth": [1], "model.predictor.depth": [1, 2]}) == [
        "encoder.depth 1, predictor.depth 1",
        "encoder.depth 1, predictor.depth 2",
    ]
    twins = [{"name": "ema", "start": 0.9}, "online"]
    assert labels({"model.target": twins}) == ["ema", "online"]
    assert labels({"optim.lr": [1, 2]}, labels=["slow", "fast"]) == ["slow", "fast"]


def test_parts_are_called_by_their_names_however_they_are_given():
    assert labels({"masks.0": ["multiblock", "random"]}) == ["multiblock", "random"]
    assert labels({"model.target": ["ema", "online"]}) == ["ema", "online"]
    assert labels({"optim.lr_scaling": ["none", "linear"]}) == [
        "lr_scaling none",
        "lr_scaling linear",
    ]


def test_folders_are_for_every_file_system():
    names = ["a/b", "a b", "A b", "..", "ok_1-x"]
    sweep = planned({"optim.lr": [1, 2, 3, 4, 5]}, labels=names, seeds=[2])
    folders = [run.folder.relative_to("out/runs").as_posix() for run in sweep.runs]
    assert folders == ["a-b/seed2", "a-b-2/seed2", "A-b-3/seed2", "variant/seed2", "ok_1-x/seed2"]
    others = ["日本 _hide_ *7*", "日本 _hide_ *8*", "e\u0301te\u0301", "🙂", "x" * 300]
    sweep = planned({"optim.lr": [1, 2, 3, 4, 5]}, labels=others)
    folders = [run.folder.parent.name for run in sweep.runs]
    assert folders == ["日本-_hide_-7", "日本-_hide_-8", "\u00e9t\u00e9", "variant", "x" * 60]
    sweep = planned({"optim.lr": [1, 2, 3, 4, 5]}, labels=names, seeds=[2])
    assert sweep.runs[0].log == Path("out/runs/a-b/seed2.log")
    assert sweep.runs[0].name == "a/b/seed2"


def test_the_reference_is_the_first_or_the_one_that_is_named():
    assert planned({"optim.lr": [1, 2]}).reference.label == "lr 1"
    assert planned({"optim.lr": [1, 2]}, reference="lr 2").reference.label == "lr 2"


# --- commands ------------------------------------------------------------------------------------


def test_the_command_makes_the_very_config():
    for run in planned({"masks.0": MASKS, "optim.lr": [1e-05]}, seeds=[1]).runs:
        args = cli.parse(shlex.split(shell(run.train_command))[1:])
        assert args.output == run.folder
        assert load_run(args.config, args.overrides) == run.config


def test_what_is_measured_is_asked_for():
    measure = [{"name": "knn", "k": 5}, {"name": "linear"}]
    sweep = planned(
        {"optim.lr": [1, 2]}, measure=measure, evaluate={"test": "x:y", "test_samples": 7}
    )
    first, second = sweep.runs
    assert shell(first.eval_command) == (
        "jepa eval out/runs/lr-1/seed0 --protocol knn --protocol linear --test x:y "
        "--train-samples 10000 --test-samples 7 knn.k=5"
    )
    assert "--trained-only" in second.eval_command
    alone = planned({"optim.lr": [1]}, measure=measure[:1]).runs[0]
    assert alone.eval_command[-1] == "k=5"


def test_baselines_are_measured_once_where_they_are_the_same():
    sweep = planned({"model.encoder.depth": [1, 2], "optim.lr": [1, 2]}, seeds=[0, 1])
    assert [run.baselines for run in sweep.runs] == [True, False] * 4


def test_commands_stand_for_themselves(monkeypatch, tmp_path):
    monkeypatch.setenv("JEPA_DATA", str(tmp_path))
    (run,) = planned({"data.source": ["class_folders"]}).runs
    assert f"data.root={tmp_path}" in run.train_command
    assert f"data.root={tmp_path}" in run.eval_command


def test_processes_of_a_run():
    (run,) = planned({"optim.lr": [1]}, nproc=2).runs
    assert run.train_command[5:7] == ("--nproc", "2")


# --- runs that share a seed are paired -----------------------------------------------------------


def test_a_seed_means_the_same_weights_samples_and_masks():
    runs = planned({"optim.lr": [1, 2]}, seeds=[0, 1]).runs
    made = [build(run.config) for run in runs]
    plans = [Plan(run.config, 0, 1, 8000) for run in runs]
    masks = [p.masks(b.samplers, 5, 0)[0] for p, b in zip(plans, made, strict=True)]
    orders = [Order(run.config.train.seed, 8000, 8) for run in runs]
    samples = [order.work(5, 0, 8)[2].tolist() for order in orders]
    weights = [b.model.backbone.tokenizer.state_dict() for b in made]

    def alike(a: int, b: int) -> set[bool]:
        same = torch.equal(masks[a].context, masks[b].context)
        tensors = zip(weights[a].values(), weights[b].values(), strict=True)
        return {same, samples[a] == samples[b], all(torch.equal(x, y) for x, y in tensors)}

    assert alike(0, 1) == alike(2, 3) == {True}
    assert alike(0, 2) == {False}


# --- what is refused -----------------------------------------------------------------------------


def test_a_misspelt_key_is_named_with_the_nearest():
    found = faults({"model.encoder.dept": [1, 2], "mask.0": [{"name": "multiblock"}]})
    assert "did you mean 'depth'" in found["vary.model.encoder.dept[0]"]
    assert "model.encoder.dept: unknown key" in found["vary.model.encoder.dept[1]"]
    assert "did you mean 'masks'" in found["vary.mask.0[0]"]


def test_every_wrong_value_is_told_once_at_its_place():
    found = faults(
        {
            "masks.0": [*MASKS, {"name": "multiblok"}, {"name": "multiblock", "min_kep": 4}],
            "optim.lr": [1e-3, "fast", -1],
        }
    )
    assert "did you mean 'multiblock'" in found["vary.masks.0[2]"]
    assert "masks.0.min_kep: unknown key" in found["vary.masks.0[3]"]
    assert found["vary.optim.lr[1]"] == "optim.lr: found 'fast', allowed: a number"
    assert found["vary.optim.lr[2]"] == "optim.lr: found -1.0, allowed: above 0"
    found = faults({"masks.7.keep": [3, 4]})
    assert "found place '7' of a list, allowed: 0 to 0" in found["vary.masks.7.keep[1]"]


def test_parts_that_do_not_fit_are_met_without_training():
    found = faults({"masks.0.min_keep": [4, 48]})
    assert found.keys() == {"vary.masks.0.min_keep[1]"}
    assert "masks.0" in found["vary.masks.0.min_keep[1]"]
    found = faults({"optim.lr": [1]}, nproc=3)
    assert "which 3 processes" in found["overrides 'train.global_batch=8'"]


def test_with_one_varied_key_the_place_is_certain():
    rows = [[], ["vicreg"], ["sigreg"]]
    found = faults({"model.regularizers": rows}, "train.accumulate=2")
    assert found.keys() == {"vary.model.regularizers[1]", "vary.model.regularizers[2]"}
    assert "train.accumulate: found 2" in found["vary.model.regularizers[1]"]
    assert faults({"model.dim": [16, 17]}).keys() == {"vary.model.dim[1]"}
    assert faults({"modality.size": [[28, 28], [27, 28]]}).keys() == {"vary.modality.size[1]"}
    found = faults({"model.regularizers": rows[:2], "optim.lr": [1, 2]}, "train.accumulate=2")
    assert found.keys() == {"variant regularizers vicreg, lr 1"}


def test_faults_of_all_are_the_base_s_or_the_overrides():
    found = faults({"optim.lr": [1, 2]}, "optm.lr=3", "train.log_every", seeds=[0])
    assert "train.log_every: allowed: key=value" in found["overrides"].replace("'", "")
    found = faults({"optim.lr": [1, 2]}, "optm.lr=3")
    assert "did you mean 'optim'" in found["overrides 'optm.lr=3'"]
    found = faults({"optim.lr": [1, 2]}, overrides=["data.worker=0"])
    assert "did you mean 'workers'" in found["overrides 'data.worker=0'"]


def test_an_absent_base_is_told_with_the_places_that_were_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = faults({"optim.lr": [1]}, base="image/quickstar")
    assert found.keys() == {"base"}
    assert f"no such file in {tmp_path}, and no shipped config: found 'im" in found["base"]
    assert "did you mean 'image/quickstart'" in found["base"]
    told = faults({"optim.lr": [1]}, base="ablations/masks")["base"]
    allowed = told.partition("found 'ablations/masks', allowed: ")[2]
    assert "image/cifar10, " in allowed
    assert "ablations/" not in allowed


def test_a_base_may_stand_beside_the_sweep(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beside = tmp_path / "sweeps"
    beside.mkdir()
    (beside / "own.yaml").write_text(config_path("image/quickstart").read_text())
    text = "base: own.yaml\nvary: {optim.lr: [1.0e-3]}\nbudget: {samples: 8000}\n"
    (beside / "sweep.yaml").write_text(text)
    config = load_ablation("sweeps/sweep.yaml")
    (run,) = plan(config, Path("out"), TINY).runs
    args = cli.parse(run.train_command)
    assert load_run(args.config, args.overrides) == run.config
    (beside / "own.yaml").rename(tmp_path / "own.yaml")  # as before: from here
    assert load_ablation("sweeps/sweep.yaml").base == "own.yaml"
    (tmp_path / "own.yaml").unlink()
    with pytest.raises(ConfigError, match=rf"sweep.yaml: base: .* {tmp_path}, {beside}, and no"):
        load_ablation("sweeps/sweep.yaml")


def test_keys_that_the_sweep_sets():
    found = faults({"train.seed": [1], "train": [{"epochs": 3}]}, "train.max_steps=3")
    assert found["vary.train.seed[0]"] == "train.seed is set by the sweep; write `seeds` instead"
    assert "write `budget`" in found["vary.train[0]"]
    assert "write `budget`" in found["overrides 'train.max_steps=3'"]
    assert faults({"train.seed": [1, 2]}).keys() == {"vary.train.seed[0]", "vary.train.seed[1]"}


def test_labels_and_reference_that_do_not_fit():
    found = faults({"optim.lr": [1, 2]}, labels=["a"], reference="b")
    assert found["labels"] == "found 1, allowed: one for each of 2 variants: lr 1; lr 2"
    assert found["reference"] == "found 'b', allowed: lr 1; lr 2"
    assert "labels.1" in faults({"optim.lr": [1, 2]}, labels=["a", " "])


def test_variants_of_one_config():
    found = faults({"optim.lr": [1, 2, 1.0]})
    assert found == {"vary.optim.lr[2]": "variant lr 1.0 has the same config as lr 1"}


def test_a_budget_below_one_batch():
    found = faults({"train.global_batch": [8, 88]})
    assert list(found.values()) == ["budget: found 80 samples, allowed: at least a batch of 88"]


def test_a_folder_with_a_run_of_another_config(tmp_path):
    sweep = planned({"optim.lr": [1e-3, 2e-3]}, folder=str(tmp_path))
    run = sweep.runs[1]
    config = load_run("image/quickstart", [*TINY, "train.max_steps=1", "train.epochs=null"])
    session.train(config, run.folder, distributed.start("cpu"))
    before = sorted(tmp_path.rglob("*"))
    found = faults({"optim.lr": [1e-3, 2e-3]}, folder=str(tmp_path))
    assert found.keys() == {str(run.folder)}
    assert "holds a run of another config (step 1): optim.lr: " in found[str(run.folder)]
    assert "train.max_steps: 1 -> 10" in found[str(run.folder)]
    assert sorted(tmp_path.rglob("*")) == before


# --- what is shipped -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_sweep_is_sound(name):
    config = load_ablation(f"ablations/{name}")
    sweep = plan(config, Path("out"), ["data.root=/data/cifar10"])
    assert len(sweep.runs) == len(sweep.variants) * len(config.seeds)
    assert {run.steps for run in sweep.runs} == {1875}
    assert [part.name for part in config.measure] == ["knn", "linear"]


def test_the_measured_trim_runs_are_those_of_the_shipped_sweep():
    """Runs that were trained by hand are taken as they are."""
    sweep = plan(load_ablation("ablations/trim"), Path("out"), ["data.root=/tmp/data"])
    by_name = {run.folder.relative_to("out/runs").as_posix(): run for run in sweep.runs}
    assert {f"{v}/seed{s}" for v in ("official", "subset", "side", "keep16") for s in range(5)} == (
        by_name.keys()
    )
    by_hand = ['masks.0={"name": "multiblock", "min_keep": 4, "keep": 16}', "data.root=/tmp/data"]
    by_hand += ["train.epochs=null", "train.max_steps=1875", "train.seed=3"]
    assert unstructure(load_run("image/cifar10", by_hand)) == unstructure(
        by_name["keep16/seed3"].config
    )
