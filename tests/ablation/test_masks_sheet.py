"""The masks of each variant over the same inputs: drawn once where they are the same."""

from __future__ import annotations

import json

import made_up
import numpy as np
import pytest
import torch
from PIL import Image

from jepa.ablation import masks_sheet
from jepa.ablation.masks_sheet import draw_masks_sheets, masks_sheets
from jepa.core.coverage import measure
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.evaluation.masks_figure import View
from jepa.plugins.masks.multiblock import Multiblock

MASKS = {
    "masks.0": [
        {"name": "multiblock", "min_keep": 4},
        {"name": "multiblock_official", "min_keep": 4},
    ]
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(masks_sheet, "_STEPS", 10)


def test_each_kind_of_masks_is_drawn_over_the_same_inputs(tmp_path):
    made = made_up.sweep(tmp_path / "sweep", ["ours", "theirs"], seeds=[0, 1], vary=MASKS)
    draw_masks_sheets(made)
    ours, theirs = masks_sheets(made)
    assert (ours.labels, theirs.labels) == (("ours",), ("theirs",))
    assert "multiblock: " in ours.told[0]
    assert "of 49 tokens are context; 4 target blocks of" in theirs.told[0]
    sizes = []
    for sheet in (ours, theirs):
        for path in sheet.pictures:
            with Image.open(path) as opened:
                sizes.append(opened.size)
                assert min(opened.size) > 200
    assert sizes[0] == sizes[2]


def test_variants_with_the_same_masks_share_a_sheet(tmp_path):
    made = made_up.sweep(tmp_path, ["slow", "fast"], seeds=[0])
    draw_masks_sheets(made)
    (sheet,) = masks_sheets(made)
    assert sheet.labels == ("slow", "fast")
    assert len(list((tmp_path / "masks").glob("*.png"))) == 2


def test_without_drawing_there_is_nothing(tmp_path):
    made = made_up.sweep(tmp_path, ["a", "b"], seeds=[0])
    assert masks_sheets(made) == []
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "masks.json").write_text("{torn")
    assert masks_sheets(made) == []


def test_sheets_of_another_sweep_are_not_shown(tmp_path):
    draw_masks_sheets(made_up.sweep(tmp_path, ["a", "b"], seeds=[0]))
    assert masks_sheets(made_up.sweep(tmp_path, ["a", "c"], seeds=[0])) == []


def test_what_cannot_be_drawn_is_told_with_its_reason(tmp_path):
    source = ["data.source=folder", "data.root=/nowhere/at/all"]
    made = made_up.sweep(tmp_path, ["a"], seeds=[0], overrides=[*made_up.TINY, *source])
    draw_masks_sheets(made)
    (sheet,) = masks_sheets(made)
    assert sheet.pictures == ()
    assert "No masks: " in sheet.told[0]
    assert "/nowhere/at/all" in sheet.told[0]
    assert json.loads((tmp_path / "masks" / "masks.json").read_text())[0]["labels"] == ["a"]


GREEN = (20, 220, 60)


@pytest.mark.parametrize(
    ("grid", "height", "width"),
    [
        (Grid((40,), ("t",)), 60, 240),
        (Grid((9, 12), ("y", "x")), 90, 120),
        (Grid((3, 6, 6), ("t", "y", "x")), 60, 180),
    ],
    ids=str,
)
@pytest.mark.parametrize("views", [1, 2])
def test_context_shows_and_the_rest_is_veiled(tmp_path, grid, height, width, views):
    sampler = Multiblock(Multiblock.Config(min_keep=5), grid=grid)
    masks = sampler.sample(4, Rng(0, 0, 4))
    found = measure(sampler, grid, seed=0, steps=3, global_batch=4, view=0)
    green = torch.tensor(GREEN, dtype=torch.uint8).expand(4, height, width, 3)
    drawn = masks_sheet._Drawn(green, grid, [View("multiblock", masks, found)] * views)
    (tmp_path / "strip.png").write_bytes(masks_sheet._png(masks_sheet._strip(drawn)))
    pixels = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB")).astype(int)
    shown = (np.abs(pixels - GREEN).max(-1) < 12).sum()
    veiled = (np.abs(pixels - (95, 134, 129)).max(-1) < 12).sum()
    context = masks.context.shape[1] / grid.size
    # A sixth of what is hidden is striped, and outlines cover a little of all.
    assert shown / (shown + veiled * 6 / 5) == pytest.approx(context, abs=0.06)
    for outline in ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)):
        assert (np.abs(pixels - outline).max(-1) < 12).sum() > 100
    (tmp_path / "maps.png").write_bytes(masks_sheet._png(masks_sheet._maps(drawn)))
    assert min(Image.open(tmp_path / "maps.png").size) > 150
