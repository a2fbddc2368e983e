"""`train.compile`: the same losses, and few pieces of compiled code while K and T change."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_run import records, train
from torch import nn
from torch._dynamo.utils import counters

pytestmark = pytest.mark.slow

STEPS = 15


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def losses(output: Path) -> list[float]:
    return [record["train/loss"] for record in records(output)]


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="compiling for the CPU needs a C++ compiler"
)
def test_compiled_code_gives_the_losses_of_plain_code(tmp_path):
    train(tmp_path / "plain", "train.max_steps=5")
    train(tmp_path / "compiled", "train.max_steps=5", "train.compile=true")
    assert counters["stats"]["unique_graphs"] > 0
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-4)


def test_changing_sizes_compile_a_bounded_number_of_times(tmp_path, monkeypatch):
    plain = nn.Module.compile
    # What is traced and guarded does not depend on what makes code of it, and this is quick.
    monkeypatch.setattr(
        nn.Module,
        "compile",
        lambda self, dynamic: plain(self, dynamic=dynamic, backend="aot_eager"),
    )
    settings = (
        f"train.max_steps={STEPS}",
        "model.encoder.depth=6",
        "model.encoder.drop_path=0.3",
        "model.predictor={name: vit, depth: 3, dim: 32, heads: 2, drop_path: 0.3}",
        "masks=[{name: multiblock, min_keep: 4}, {name: multiblock, min_keep: 4, num_targets: 2}]",
    )
    train(tmp_path, *settings, "train.compile=true")
    seen = {(r["train/context_tokens"], r["train/target_tokens"]) for r in records(tmp_path)}
    assert len(seen) > 8, "sizes must change for this to show anything"
    # Encoder and target, the predictor's blocks and its last one; blocks that drop are of a kind.
    assert counters["stats"]["unique_graphs"] <= 8
    assert not counters["graph_break"]
    given_up = counters["frames"]["total"] - counters["frames"]["ok"]
    assert given_up == 0
