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


def test_sheets_of_other_masks_are_not_shown(tmp_path):
    others = {"masks.0": [{"name": "random"}, {"name": "multiblock", "min_keep": 5}]}
    draw_masks_sheets(made_up.sweep(tmp_path, ["a", "b"], seeds=[0]))
    assert len(masks_sheets(made_up.sweep(tmp_path, ["a", "c"], seeds=[0]))) == 1
    assert masks_sheets(made_up.sweep(tmp_path, ["a", "c"], seeds=[1])) == []
    assert masks_sheets(made_up.sweep(tmp_path, ["a", "c"], seeds=[0], vary=others)) == []


def test_what_was_drawn_is_not_drawn_again(tmp_path, monkeypatch):
    draw_masks_sheets(made_up.sweep(tmp_path, ["ours", "theirs"], seeds=[0], vary=MASKS))
    drawn, draw = [], masks_sheet._draw
    monkeypatch.setattr(
        masks_sheet, "_draw", lambda config: drawn.append(config.masks[0].name) or draw(config)
    )
    more = {"masks.0": [*MASKS["masks.0"][::-1], {"name": "random"}]}
    grown = made_up.sweep(tmp_path, ["theirs", "ours", "random"], seeds=[0, 1], vary=more)
    draw_masks_sheets(grown)
    assert drawn == ["random"]
    assert [sheet.told[0].split(":")[0] for sheet in masks_sheets(grown)] == [
        "multiblock_official",
        "multiblock",
        "random",
    ]
    masks_sheets(grown)[1].pictures[0].unlink()
    draw_masks_sheets(grown)
    assert drawn == ["random", "multiblock"]


def test_masks_that_change_are_shown_as_training_begins_and_ends(tmp_path):
    change = {"name": "curriculum", "first": "multiblock", "last": {"name": "random", "ratio": 0.5}}
    vary = {"masks": [[change], [{"name": "multiblock", "min_keep": 4}, change]]}
    made = made_up.sweep(tmp_path, ["one", "two"], seeds=[0], vary=vary)
    draw_masks_sheets(made)
    one, two = masks_sheets(made)
    begins, ends = one.told
    assert begins.startswith("as training begins, curriculum: ")
    assert "4 target blocks" in begins
    assert ends.startswith("as training ends, curriculum: ")
    assert "1 target block " in ends
    assert [line.partition(":")[0] for line in two.told] == [
        "masks.0, multiblock",
        "masks.1, as training begins, curriculum",
        "masks.1, as training ends, curriculum",
    ]
    with Image.open(one.pictures[0]) as opened, Image.open(two.pictures[0]) as taller:
        assert taller.size[1] > 1.3 * opened.size[1]


def test_all_maps_have_one_scale(tmp_path, monkeypatch):
    scales = []
    heat_map = masks_sheet.heat_map

    def seen(figure, axes, *args, **more):
        heat_map(figure, axes, *args, **more)
        scales.append(axes.images[0].get_clim())

    monkeypatch.setattr(masks_sheet, "heat_map", seen)
    draw_masks_sheets(made_up.sweep(tmp_path, ["a", "b"], seeds=[0], vary=MASKS))
    assert scales == [(0.0, 1.0)] * 4


def test_what_cannot_be_drawn_is_told_with_its_reason(tmp_path):
    source = ["data.source=folder", "data.root=/nowhere/at/all"]
    made = made_up.sweep(tmp_path, ["a"], seeds=[0], overrides=[*made_up.TINY, *source])
    draw_masks_sheets(made)
    (sheet,) = masks_sheets(made)
    assert sheet.pictures == ()
    assert "No masks: " in sheet.told[0]
    assert "/nowhere/at/all" in sheet.told[0]
    (told,) = json.loads((tmp_path / "masks" / "masks.json").read_text()).values()
    assert told["pictures"] == []


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
    drawn = masks_sheet._Drawn(
        green,
        grid,
        dict(zip("ab"[:views], [View("multiblock", masks, found)] * views, strict=True)),
    )
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
