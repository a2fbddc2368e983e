"""`jepa check`: every shipped config, and numbers that are known."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import jepa
from jepa import cli
from jepa.core.build import build
from jepa.core.config import load_run
from jepa.core.grid import Grid
from jepa.core.tokens import Masks
from jepa.core.training import cost
from jepa.core.training.plan import Plan

CONFIGS = Path(jepa.__file__).parent / "configs"
NAMES = (str(path.relative_to(CONFIGS).with_suffix("")) for path in CONFIGS.rglob("*.yaml"))
SHIPPED = sorted(name for name in NAMES if not name.startswith("ablations/"))

# name: (D, depth, MLP width, patch, channels, grid), (predictor's width, depth, mask tokens)
KNOWN = {
    "image/quickstart": ((96, 4, 384, (4, 4), 1, [7, 7]), (64, 3, 1)),
    "image/cifar10": ((128, 4, 512, (4, 4), 3, [8, 8]), (64, 3, 1)),
    "image/vits16": ((384, 12, 1536, (16, 16), 3, [14, 14]), (384, 6, 1)),
    "image/vitb16": ((768, 12, 3072, (16, 16), 3, [14, 14]), (384, 6, 1)),
    "image/vitl16": ((1024, 24, 4096, (16, 16), 3, [14, 14]), (384, 12, 1)),
    "image/vith14": ((1280, 32, 5120, (14, 14), 3, [16, 16]), (384, 12, 1)),
    "image/vith16_448": ((1280, 32, 5120, (16, 16), 3, [28, 28]), (384, 12, 1)),
    "image/vith14_in22k": ((1280, 32, 5120, (14, 14), 3, [16, 16]), (384, 12, 1)),
    "image/vitg16_in22k": ((1408, 40, 6144, (16, 16), 3, [14, 14]), (384, 16, 1)),
    "video/vjepa_vitl16": ((1024, 24, 4096, (2, 16, 16), 3, [8, 14, 14]), (384, 12, 2)),
    "video/vjepa_vith16": ((1280, 32, 5120, (2, 16, 16), 3, [8, 14, 14]), (384, 12, 2)),
}


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:  # type: ignore[type-arg]
    assert cli.main(["check", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)  # type: ignore[no-any-return]


def blocks(dim: int, depth: int, hidden: int) -> int:
    attention = dim * 3 * dim + 3 * dim + dim * dim + dim
    mlp = dim * hidden + hidden + hidden * dim + dim
    norms = 2 * 2 * dim
    return depth * (attention + mlp + norms)


def encoder_parameters(
    dim: int, depth: int, hidden: int, patch: tuple[int, ...], channels: int
) -> int:
    embedding = channels * math.prod(patch) * dim + dim
    return embedding + blocks(dim, depth, hidden) + 2 * dim


def predictor_parameters(dim: int, width: int, depth: int, tokens: int = 1) -> int:
    into, out, token = dim * width + width, width * dim + dim, tokens * width
    return into + token + blocks(width, depth, 4 * width) + 2 * width + out


def test_every_shipped_config_is_known() -> None:
    assert set(SHIPPED) >= set(KNOWN)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_is_sound(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, "--config", name)
    assert all(0 < count < found["tokens"] for count in found["context_tokens"])
    assert found["memory_gib"]["bf16"] < found["memory_gib"]["fp32"]
    if name not in KNOWN:
        return
    (dim, depth, hidden, patch, channels, grid), (width, predictor_depth, tokens) = KNOWN[name]
    assert found["grid"] == grid
    assert found["tokens"] == math.prod(grid)
    assert found["parameters"] == {
        "encoder": encoder_parameters(dim, depth, hidden, patch, channels),
        "target": encoder_parameters(dim, depth, hidden, patch, channels),
        "predictor": predictor_parameters(dim, width, predictor_depth, tokens),
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_trains_a_step_on_the_meta_device(name: str) -> None:
    # Blocks are alike, and the target wants eight at most.
    shallow = ["model.encoder.depth=8", "model.predictor.depth=2"]
    deep = name in KNOWN and KNOWN[name][0][1] > 8
    config = load_run(name, shallow if deep else [])
    plan = Plan(config, 0, config.train.global_batch, 10 * config.train.global_batch)
    with torch.device("meta"):
        built = build(config)
        inputs = torch.empty(plan.micro, *built.modality.spec.loaded)
    views = tuple(
        Masks(*(part.to("meta") for part in masks)) for masks in plan.masks(built.samplers, 0, 0)
    )
    loss = built.model.train()(inputs, views)
    loss.total.backward()
    assert loss.total.shape == ()
    for name_of, parameter in built.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name_of
    optimizer = torch.optim.AdamW([p for p in built.model.parameters() if p.requires_grad])
    optimizer.step()
    built.updater.update(
        built.model.target, built.model.backbone, 0.0, torch.ones((), device="meta")
    )


def test_published_sizes() -> None:
    # As the field states them, in millions, for encoders without a class token.
    assert encoder_parameters(768, 12, 3072, (16, 16), 3) / 1e6 == pytest.approx(85.65, abs=0.01)
    assert encoder_parameters(1024, 24, 4096, (16, 16), 3) / 1e6 == pytest.approx(303.1, abs=0.1)
    assert encoder_parameters(1280, 32, 5120, (14, 14), 3) / 1e6 == pytest.approx(630.4, abs=0.1)
    assert encoder_parameters(1408, 40, 6144, (16, 16), 3) / 1e6 == pytest.approx(1011, abs=1)


def forward_flops(rows: int, dim: int, depth: int, hidden: int) -> int:
    """Of blocks over `rows` tokens: two for each multiplication of a matrix product."""
    products = rows * dim * 3 * dim + rows * dim * dim + 2 * rows * dim * hidden
    return depth * 2 * (products + 2 * rows * rows * dim)


def test_flops_of_a_known_model(capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, "--config", "image/vits16")
    dim, depth, hidden, width, patch = 384, 12, 1536, 384, 3 * 16 * 16
    (context,), (targets,) = found["context_tokens"], found["target_tokens"]
    each = targets // 4
    embedding = 2 * 196 * patch * dim
    target = embedding + forward_flops(196, dim, depth, hidden)
    online = embedding + forward_flops(context, dim, depth, hidden)
    rows = context + each
    predictor = 4 * (
        2 * context * dim * width
        + forward_flops(rows, width, 5, 4 * width)
        # The last block asks for the targets alone.
        + 2 * (rows * width * 3 * width + each * width * width)
        + 2 * (2 * rows * each * width + 2 * each * width * 4 * width)
        + 2 * each * width * dim
    )
    assert found["flops_per_sample"] == pytest.approx(target + 3 * (online + predictor), rel=1e-3)


@pytest.mark.parametrize("sampler", ["multiblock", "multiblock_official"])
def test_token_counts_are_those_of_the_first_step(
    sampler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = f"masks=[{{name: {sampler}, min_keep: 4, trim_group: 128}}]"
    sizes = ("train.global_batch=256", "train.accumulate=2")
    found = checked(capsys, "--config", "image/quickstart", masks, *sizes)
    config = load_run("image/quickstart", [masks, *sizes])
    plan = Plan(config, 0, 1, 8000)
    (view,) = plan.masks(build(config).samplers, 0, 0)
    assert found["context_tokens"] == [view.context.shape[1]]
    assert found["target_tokens"] == [view.targets.shape[1] * view.targets.shape[2]]
    assert found["micro_batch"] == 128


def test_more_samples_at_once_need_more_memory() -> None:
    small = cost.Cost(
        grid=Grid((2, 2), ("y", "x")),
        encoder=1000,
        predictor=500,
        target=1000,
        context_tokens=(1,),
        target_tokens=(3,),
        flops_per_sample=1.0,
        activation_bytes=100.0,
    )
    # Weights, gradients and two moments of what is trained, and the target's weights.
    fixed = 4 * (4 * 1500 + 1000)
    assert small.memory_bytes(10, bf16=False) == fixed + 1000
    assert small.memory_bytes(20, bf16=False) == fixed + 2000
    assert small.memory_bytes(20, bf16=True) == fixed + 1200


def test_people_read_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", "--config", "image/vitb16", "--nproc", "8"]) == 0
    said = capsys.readouterr().out
    assert "encoder 85.6 M" in said
    assert "196 on a grid of 14 x 14" in said
    assert "micro-steps of 256" in said
    assert "set train.accumulate=2" in said  # the published groups of 128


def test_what_cannot_be_shared_is_noted(capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(capsys, "--config", "image/vitb16", "--nproc", "16")["notes"] == []
    (note,) = checked(capsys, "--config", "image/vitb16", "--nproc", "4")["notes"]
    assert "masks.0.trim_group: found 128" in note
    assert "train.accumulate=4" in note


def test_faults_are_told_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["model.encoder.depht=3", "train.global_batch=0"]
    assert cli.main(["check", "--config", "image/quickstart", *wrong]) == 2
    said = capsys.readouterr().err
    assert "depht" in said
    assert "train.global_batch" in said
    assert cli.main(["check", "--config", "image/quickstart", "--nproc", "5"]) == 2
    assert "30 or 35" in capsys.readouterr().err
