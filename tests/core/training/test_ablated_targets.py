"""Whole runs with other targets and regularizers: exact resuming, no collapse, refusals."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tiny_run import ALONE, exact, records, tiny, train, weights

from jepa import cli
from jepa.core.build import build
from jepa.core.config import load_run
from jepa.core.errors import ConfigError
from jepa.core.training import cost, session
from jepa.core.training.checkpoint import Checkpoint
from jepa.core.training.tensorfile import read_tensors
from jepa.evaluation.loading import find_checkpoint, load_backbone, load_jepa, read_config

TWO_BLOCKS = "model.encoder={name: vit, depth: 2, heads: 2, drop_path: 0.2}"
BOTH = "model.regularizers=[vicreg, {name: sigreg, slices: 16}]"
EACH_STEP = ("checkpoint.every=1", "checkpoint.keep_last=9")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another width and seed than the tiny run."""
    output = tmp_path_factory.mktemp("teacher") / "run"
    train(output, "model.dim=24", "train.seed=5", "train.max_steps=2")
    return output


def of_teacher(path: Path) -> str:
    return f"model.target={{name: frozen, checkpoint: {path}}}"


# --- resuming -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        (TWO_BLOCKS, "model.target={name: ema, layers: 2, layers_normalise: sequence}"),
        (TWO_BLOCKS, "model.target={name: ema, hide: input}", "model.objective=cosine"),
        ("model.target=frozen",),
        ("model.target=pixels", "model.objective=l2"),
        (TWO_BLOCKS, "model.target=shared", BOTH),
    ],
    ids=["layers", "hidden input", "frozen", "pixels", "shared, regularised"],
)
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(whole, *settings, *EACH_STEP, "train.max_steps=4")
    train(parts, *settings, *EACH_STEP, "train.max_steps=2")
    assert train(parts, *settings, *EACH_STEP, "train.max_steps=4") == "completed"
    assert weights(parts, 4) == weights(whole, 4)
    assert weights(whole, 4) != weights(whole, 2)
    assert exact(parts) == exact(whole)


def test_a_teacher_that_trains_on_moves_no_target(tmp_path: Path, teacher: Path) -> None:
    """Checkpoints hold the teacher's weights: going on does not take up newer ones."""
    moving, whole, parts = (tmp_path / name for name in ("teacher", "whole", "parts"))
    shutil.copytree(teacher, moving)
    settings = (of_teacher(moving), *EACH_STEP)
    train(whole, *settings, "train.max_steps=4")
    train(parts, *settings, "train.max_steps=2")
    train(moving, "model.dim=24", "train.seed=5", "train.max_steps=3")
    train(parts, *settings, "train.max_steps=4")
    assert weights(parts, 4) == weights(whole, 4)


# --- what is evaluated --------------------------------------------------------------------------


def online_of(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    held = read_tensors(checkpoint.tensor_file("model"))
    prefix = "backbone."
    return {name[len(prefix) :]: t for name, t in held.items() if name.startswith(prefix)}


def is_online(output: Path) -> bool:
    found, online = load_backbone(output).backbone.state_dict(), online_of(find_checkpoint(output))
    return all(torch.equal(found[name], tensor) for name, tensor in online.items())


def test_a_student_is_evaluated_and_not_its_teacher(tmp_path: Path, teacher: Path) -> None:
    gone = tmp_path / "teacher"
    shutil.copytree(teacher, gone)
    output = tmp_path / "run"
    train(output, of_teacher(gone), "train.max_steps=2")
    known = load_backbone(teacher).backbone.state_dict()
    checkpoint = find_checkpoint(output)
    built = load_jepa(checkpoint, read_config(checkpoint))
    assert built.model.target.dim == built.model.predictor.predictor_proj.out_features == 24
    kept = built.model.target.network.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in known.items())
    assert read_tensors(checkpoint.tensor_file("target")) == {}

    shutil.rmtree(gone)
    assert is_online(output)
    assert load_backbone(output).backbone.dim == 16
    few = ("--train-samples", "100", "--test-samples", "50", "--output", str(tmp_path / "eval"))
    assert cli.main(["eval", str(output), "--protocol", "knn", *few]) == 0
    with pytest.raises(ConfigError, match=r"model\.target\.checkpoint: .*no such folder"):
        load_jepa(checkpoint, read_config(checkpoint))


@pytest.mark.parametrize("target", ["frozen", "pixels", "shared", "online"])
def test_where_no_target_encoder_is_trained_the_online_one_is_evaluated(
    tmp_path: Path, target: str
) -> None:
    train(tmp_path, f"model.target={target}", "train.max_steps=2")
    assert is_online(tmp_path)
    start = build(tiny()).model.backbone.state_dict()
    moved = load_backbone(tmp_path).backbone.state_dict()
    assert any(not torch.equal(start[name], tensor) for name, tensor in moved.items())


def test_commands_see_a_run_without_a_target_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    health = "observers=[jsonl, {name: health, every: 1, probe: {known: 50, asked: 30}}]"
    train(tmp_path, "model.target=pixels", "model.objective=l2", health, "train.max_steps=2")
    last = records(tmp_path)[-1]
    assert 1 <= last["health/target_rank"] <= 16
    assert "health/ema_drift" not in last
    sheets = [word for name in ("similarity", "nearest", "energy") for word in ("--only", name)]
    assert cli.main(["visualize", str(tmp_path), "--samples", "2", *sheets]) == 0
    assert cli.main(["health", str(tmp_path)]) == 0
    assert "left out" not in capsys.readouterr().out
    assert len(list((tmp_path / "visualize").glob("*.png"))) == 3


# --- what does not fit --------------------------------------------------------------------------


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build(tiny(*overrides))
    return str(caught.value)


def test_a_teacher_that_does_not_fit_is_refused(tmp_path: Path, teacher: Path) -> None:
    where = "model.target.checkpoint: "
    assert f"{where}{tmp_path / 'no'}: no such folder" in refused(of_teacher(tmp_path / "no"))
    said = refused(of_teacher(teacher), "model.tokenizer.size=[7, 7]")
    assert f"{where}the network in {teacher} has a grid of 7 x 7 (y, x)" in said
    assert "allowed: the same grid of 4 x 4 (y, x)" in said
    said = refused(of_teacher(teacher), "modality.size=[30, 30]", "model.tokenizer.size=[6, 6]")
    assert "cannot take inputs of [1, 30, 30]" in said
    assert "makes the grid 5 x 5 (y, x)" in said
    colours = ("modality.channels=3", "modality.mean=[0, 0, 0]", "modality.std=[1, 1, 1]")
    said = refused(of_teacher(teacher), *colours)
    assert "has inputs of 1 channels over the axes ['y', 'x']; allowed: 3 channels" in said
    damaged = tmp_path / "damaged"
    shutil.copytree(teacher, damaged)
    for file in damaged.rglob("model.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    assert "is damaged" in refused(of_teacher(a_checkpoint(damaged)))
    assert f"{where}no checkpoint in {damaged}" in refused(of_teacher(damaged))


def a_checkpoint(folder: Path) -> Path:
    return next((folder / "checkpoints").glob("step_*"))


def test_a_teacher_of_another_size_serves_where_the_grid_is_the_same(teacher: Path) -> None:
    model = build(tiny(of_teacher(teacher), "modality.size=[56, 56]",
                       "model.tokenizer.size=[4, 4]")).model  # fmt: skip
    assert model.target.network.tokenizer.grid.shape == (7, 7)
    assert model.backbone.tokenizer.grid.shape == (14, 14)
    inputs = torch.zeros(2, *model.backbone.spec.shape)
    assert model.target.network(inputs).shape == (2, 196, 24)


def test_a_sketch_of_a_student_costs_no_memory(teacher: Path) -> None:
    with torch.device("meta"):
        model = build(tiny(of_teacher(teacher))).model
    assert all(p.is_meta for p in model.parameters())
    assert cost.count(tiny(of_teacher(teacher))).target > cost.count(tiny()).target


def test_gradient_accumulation_is_refused_with_statistics_of_the_whole_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = ("train.accumulate=2", "model.regularizers=[sigreg]")
    with pytest.raises(ConfigError, match=r"train\.accumulate: found 2, allowed: 1 with model"):
        session.prepare(tiny(*settings), ALONE)
    for command in (["train", "--dry-run"], ["check"]):
        assert cli.main([*command, "--config", "image/quickstart", *settings]) == 2
        assert "model.regularizers.0 (sigreg)" in capsys.readouterr().err
    session.prepare(tiny("train.accumulate=2"), ALONE)


# --- what regularizers do -----------------------------------------------------------------------


def test_the_log_names_every_term(tmp_path: Path) -> None:
    three = "model.regularizers=[vicreg, sigreg, {name: vicreg, of: predictions, over: tokens}]"
    train(tmp_path, three, "train.max_steps=1")
    (record,) = records(tmp_path)
    told = {name.removeprefix("train/loss/"): value for name, value in record.items()}
    terms = [told[name] for name in ("objective", "vicreg_0", "vicreg_1", "sigreg")]
    assert record["train/loss"] == pytest.approx(sum(terms), rel=1e-5)
    assert told["vicreg_0/variance"] != told["vicreg_1/variance"]
    weighed = told["vicreg_0/variance"] + 0.04 * told["vicreg_0/covariance"]
    assert told["vicreg_0"] == pytest.approx(weighed, rel=1e-5)
    assert told["sigreg"] == pytest.approx(0.05 * told["sigreg/statistic"], rel=1e-5)


COLLAPSING = (
    "model.dim=32",
    "model.encoder={name: vit, depth: 2, heads: 2, init_std: 0.05}",
    "model.objective={name: smooth_l1, normalise: layer}",
    "train.global_batch=16",
    "train.max_steps=60",
    "optim.lr=2e-3",
    "optim.warmup_epochs=0",
    "train.log_every=60",
    "checkpoint.every=1000",
    "observers=[jsonl, {name: health, every: 60, probe: {every: 0}}]",
)


def end_of(output: Path, *settings: str) -> dict[str, float]:
    train(output, *COLLAPSING, *settings)
    return {name.split("/")[-1]: value for name, value in records(output)[-1].items()}


@pytest.mark.slow
def test_regularizers_train_without_a_moving_average(tmp_path: Path) -> None:
    """Without one the spread and the rank of features go down; with one they stay."""
    for target, name in (("online", "vicreg"), ("shared", "sigreg")):
        bare = end_of(tmp_path / target, f"model.target={target}")
        assert bare["target_std"] < 0.3
        output = tmp_path / f"{target}_{name}"
        held = end_of(output, f"model.target={target}", f"model.regularizers=[{name}]")
        assert held["target_std"] > 2 * bare["target_std"], (target, name)
        assert held["target_rank"] > 1.7 * bare["target_rank"], (target, name)


def test_regularizers_are_counted_on_the_meta_device() -> None:
    plain, more = cost.count(tiny()), cost.count(tiny(BOTH))
    assert more.flops_per_sample > plain.flops_per_sample
    assert more.activation_bytes > plain.activation_bytes


def test_gradient_through_the_target_is_counted() -> None:
    """Forward and backward of the whole input: three times what a stopped gradient costs."""
    stopped, both = (
        cost.count(load_run("image/quickstart", [f"model.target={name}"])).flops_per_sample
        for name in ("online", "shared")
    )
    ema = cost.count(load_run("image/quickstart", ["model.target=ema"])).flops_per_sample
    assert stopped == ema
    assert 1.2 * stopped < both < 3 * stopped
