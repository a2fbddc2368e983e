"""The built-in parts keep the promises that strangers' parts are asked to keep."""

from __future__ import annotations

import io
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from jepa.core import Grid, InputSpec, registry
from jepa.testing import Conformance, conformance

PLANES = [Grid((6, 5), ("y", "x")), Grid((8, 8), ("y", "x"))]
VIT = {"depth": 2, "heads": 2, "drop_path": 0.2, "init_std": 0.2}
NESTED = {"first": {"name": "multiblock", "min_keep": 2}, "last": "random"}
NARROW = ["model.dim=16", "model.encoder={name: vit, depth: 1, heads: 2}"]
NARROW += ["model.predictor={name: vit, depth: 1, dim: 16, heads: 2}"]
NARROW += ["masks=[{name: multiblock, min_keep: 2}]"]
ADAMW = {"optimizer": "adamw", "lrs": [0.01], "epochs": 1, "layers": [1]}


class Case(NamedTuple):
    """A built-in part, and what its kit is given."""

    kind: str
    name: str
    given: dict[str, Any] = {}

    def conformance(self, **more: Any) -> Conformance:
        return conformance(self.kind, self.name, **self.given, **more)


sampler, encoder = partial(Case, "mask_sampler"), partial(Case, "encoder")
CASES = [
    sampler("block"),
    sampler("curriculum", {"settings": NESTED}),
    sampler("multiblock", {"settings": {"min_keep": 2}}),
    sampler("multiblock", {"settings": {"min_keep": 2, "trim_group": 8}}),
    sampler(
        "multiblock_official", {"settings": {"min_keep": 1, "num_targets": 2}, "grids": PLANES}
    ),
    sampler("random"),
    sampler("rasterized"),
    sampler("spans", {"settings": {"length": 2, "min_keep": 2}}),
    sampler("time_frequency"),
    sampler("tube", {"settings": {"min_keep": 2, "num_targets": 2}}),
    Case("tokenizer", "patch", {"settings": {"size": [4]}, "specs": [InputSpec((2, 24), ("t",))]}),
    Case(
        "tokenizer",
        "patch",
        {"settings": {"size": [4, 2]}, "specs": [InputSpec((2, 12, 8), ("y", "x"))]},
    ),
    Case(
        "tokenizer",
        "patch",
        {"settings": {"size": [2, 3, 2]}, "specs": [InputSpec((2, 4, 6, 8), ("t", "y", "x"))]},
    ),
    Case(
        "tokenizer",
        "strided",
        {
            "settings": {"kernels": [4, 3], "strides": [2, 2], "width": 8},
            "specs": [InputSpec((2, 24), ("t",))],
        },
    ),
    encoder("vit", {"settings": VIT}),
    encoder("vit", {"settings": {**VIT, "positions": "extend", "activation_checkpointing": True}}),
    Case("predictor", "vit", {"settings": {**VIT, "dim": 24, "token_a_view": True}}),
    *(Case("target_updater", name) for name in ("ema", "frozen", "online", "pixels", "shared")),
    Case("target_updater", "ema", {"settings": {"layers": 2, "hide": "input"}}),
    *(Case("objective", name) for name in ("cosine", "l1", "l2", "smooth_l1")),
    Case("objective", "smooth_l1", {"settings": {"normalise": "batch"}}),
    *(Case("regularizer", name) for name in ("sigreg", "vicreg")),
    Case("source", "fashion_mnist", {"split": "test"}),
    Case("protocol", "attentive", {"settings": {"epochs": 8}}),
    Case("protocol", "dense"),
    Case("protocol", "dense", {"settings": {"predict": "slope"}}),
    Case("protocol", "knn"),
    Case("protocol", "linear", {"settings": ADAMW}),
    Case("protocol", "logistic", {"settings": {"l2": [0.1]}}),
    *(Case("observer", name) for name in ("health", "jsonl", "progress", "tensorboard")),
]
CHECKS = [
    pytest.param(check, id=f"{case.kind}-{case.name}-{check.name}")
    for case in CASES
    for check in case.conformance(slow=False).checks
]


@pytest.mark.parametrize("check", CHECKS)
def test_a_promise_is_kept(check):
    check()


def picture(seed: int, height: int, width: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@conformance(
    "modality",
    "image",
    settings={"size": [64, 64]},
    contents=[picture(0, 40, 50), picture(1, 36, 90)],
    overrides=NARROW,
)
def test_the_modality_of_pictures_keeps_its_promises(check):
    check()


ELSEWHERE = {
    ("modality", "audio"),
    ("modality", "video"),
    ("source", "frame_folders"),
    ("source", "motion"),
    ("protocol", "finetune"),
    ("protocol", "lowshot"),
    *(("source", name) for name in ("arrays", "class_folders", "folder", "scenes", "shards")),
    *(("source", name) for name in ("arrow_of_time", "stretches")),
}
"""Tried below on files, too slow here, or tried by the tests of their modality."""


def test_no_built_in_part_is_forgotten():
    ours = {(p.kind, p.name) for p in registry.plugins() if p.builtin}
    tried = {(case.kind, case.name) for case in CASES} | {("modality", "image")}
    assert ours - ELSEWHERE == tried


@pytest.mark.parametrize("name", ["folder", "class_folders", "arrays"])
def test_sources_of_files_keep_their_promises(name, tmp_path):
    for place in range(6):
        folder = tmp_path / "data" / "ab"[place % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{place}.bin").write_bytes(bytes([place]))
    np.savez(tmp_path / "data.npz", x=np.zeros((6, 4, 4)), y=np.arange(6) % 2)
    root = tmp_path / ("data.npz" if name == "arrays" else "data")
    conformance("source", name, root=root, extensions=[".bin"]).run()


@pytest.mark.parametrize("name", ["arrow_of_time", "stretches"])
@pytest.mark.parametrize("inner", ["class_folders", "folder"])
def test_sources_of_parts_keep_their_promises(name, inner, tmp_path):
    for place in range(6):
        folder = tmp_path / "ab"[place % 2]
        folder.mkdir(exist_ok=True)
        (folder / f"{place}.bin").write_bytes(bytes([place]))
    settings = {"source": {"name": inner}}
    conformance("source", name, settings=settings, root=tmp_path, extensions=[".bin"]).run()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "name"),
    [
        (encoder("vit", {"settings": VIT, "grids": PLANES[:1]}), "compiles"),
        (encoder("vit", {"settings": VIT, "grids": PLANES[:1]}), "distributed"),
        (Case("regularizer", "sigreg"), "distributed"),
    ],
)
def test_slow_promises_are_kept(case, name):
    checks = case.conformance(backend="aot_eager").checks
    (check,) = [check for check in checks if check.name == name]
    check()
