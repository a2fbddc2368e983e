"""`jepa masks`: the numbers add up, and the picture shows what it claims to show."""

import argparse
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from jepa.commands import masks
from jepa.core.coverage import measure
from jepa.core.errors import ConfigError, DataError
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.evaluation.masks_figure import View, draw
from jepa.plugins.masks.multiblock import Multiblock

QUICKSTART = ["--config", "image/quickstart", "train.global_batch=16", "--batches", "6"]


def jepa_masks(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    masks.configure(parser)
    args, more = parser.parse_known_args(argv)
    args.overrides = [*args.overrides, *more]
    return masks.run(args)


def test_writes_a_picture_and_numbers_that_add_up(tmp_path, capsys):
    picture, numbers = tmp_path / "new" / "masks.png", tmp_path / "other" / "masks.json"
    code = jepa_masks(
        *QUICKSTART, "--samples", "3", "--output", str(picture), "--json", str(numbers)
    )
    assert code == 0
    told = json.loads(numbers.read_text())
    (view,) = told["views"]
    assert told["grid"] == {"shape": [7, 7], "axes": ["y", "x"]}
    assert view["samples"] == 6 * 16
    for name, tokens in (("context", "context_tokens"), ("target", "target_tokens")):
        share = np.array(view["coverage"][name])
        assert share.shape == (7, 7)
        assert 0 <= share.min() <= share.max() <= 1
        assert view[tokens]["min"] <= view[tokens]["mean"] <= view[tokens]["max"]
        assert view[f"{name}_share"] == pytest.approx(share.mean())
    assert view["context_share"] * 49 == pytest.approx(view["context_tokens"]["mean"])
    printed = capsys.readouterr().out
    assert f"context    {view['context_tokens']['mean']:.1f} tokens" in printed
    assert str(picture) in printed
    with Image.open(picture) as opened:
        assert min(opened.size) > 400


def test_says_which_places_the_published_sampler_never_sees(tmp_path, capsys):
    override = "masks=[{name: multiblock_official, min_keep: 4}]"
    jepa_masks(*QUICKSTART, override, "--batches", "60", "--output", str(tmp_path / "m.png"))
    assert "never target: 13 of 49 places" in capsys.readouterr().out


def test_two_views_stand_side_by_side(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    masks_of = "{name: multiblock, min_keep: 4}"
    jepa_masks(*QUICKSTART, f"masks=[{masks_of}]", "--output", str(one))
    jepa_masks(*QUICKSTART, f"masks=[{masks_of}, {masks_of}]", "--output", str(two))
    with Image.open(one) as first, Image.open(two) as second:
        assert second.width > 1.3 * first.width


def test_a_sampler_that_the_grid_cannot_satisfy_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"masks\.0.*asks for 40"):
        jepa_masks(*QUICKSTART, "masks.0.min_keep=40", "--output", str(tmp_path / "m.png"))


def test_samples_that_cannot_be_decoded_are_passed_over(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.new("L", (40, 40), 200).save(data / "a.png")
    (data / "b.png").write_bytes(b"no picture")
    source = ["data.source={name: folder}", f"data.root={data}", f"data.cache={tmp_path / 'cache'}"]
    assert jepa_masks(*QUICKSTART, *source, "--output", str(tmp_path / "m.png")) == 0
    (data / "a.png").unlink()
    with pytest.raises(DataError, match="none of 1 samples"):
        jepa_masks(*QUICKSTART, *source, "--output", str(tmp_path / "m.png"))


def test_masks_of_any_moment_of_training_can_be_looked_at(tmp_path):
    picture, numbers = str(tmp_path / "m.png"), tmp_path / "m.json"
    first = "{name: multiblock, min_keep: 4}"
    override = f"masks=[{{name: curriculum, first: {first}, last: random}}]"
    told = {}
    for progress in ("0", "0.5", "1"):
        arguments = ["--progress", progress, "--output", picture, "--json", str(numbers)]
        assert jepa_masks(*QUICKSTART, override, "--batches", "20", *arguments) == 0
        told[progress] = json.loads(numbers.read_text())
        assert told[progress]["progress"] == float(progress)
    start, middle, end = (told[key]["views"][0] for key in told)
    assert (start["targets"], middle["targets"], end["targets"]) == (4, 4, 1)
    assert start["target_tokens"]["max"] < end["target_tokens"]["min"] == 29
    assert middle["target_tokens"]["min"] < 29 == middle["target_tokens"]["max"]


@pytest.mark.parametrize("progress", ["-0.1", "1.1", "nan", "half"])
def test_a_moment_outside_training_is_refused(tmp_path, capsys, progress):
    with pytest.raises(SystemExit, match="2"):
        jepa_masks(*QUICKSTART, f"--progress={progress}", "--output", str(tmp_path / "m.png"))
    assert "--progress" in capsys.readouterr().err


def test_no_torch_before_the_command_runs():
    code = "import sys, jepa.commands.masks; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the picture on grids of one to three axes --------------------------------------------------


GREEN = (20, 220, 60)


def near(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((np.abs(pixels.astype(int) - colour).max(axis=-1) < 12).sum())


@pytest.mark.parametrize(
    ("grid", "height", "width"),
    [
        (Grid((40,), ("t",)), 60, 240),
        (Grid((9, 12), ("y", "x")), 90, 120),
        (Grid((3, 6, 6), ("t", "y", "x")), 60, 180),
    ],
    ids=str,
)
def test_context_is_shown_and_each_target_has_its_colour(tmp_path, grid, height, width):
    """Over a plain green picture: green where something is shown, four outlines, grey elsewhere."""
    sampler = Multiblock(Multiblock.Config(min_keep=5), grid=grid)
    drawn = sampler.sample(4, Rng(0, 0, 4))
    found = measure(sampler, grid, seed=0, steps=3, global_batch=4, view=0)
    green = torch.tensor(GREEN, dtype=torch.uint8).expand(4, height, width, 3)
    draw(green, grid, [View("multiblock", drawn, found)], tmp_path / "m.png")
    pixels = np.asarray(Image.open(tmp_path / "m.png").convert("RGB"))
    for outline in ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)):
        assert near(pixels, outline) > 100
    hidden = torch.zeros(4, grid.size).scatter_(1, drawn.targets.flatten(1), 1.0)
    # Three columns: everything, the context, the targets. A sixth of what is hidden is striped.
    shown = 1 + drawn.context.shape[1] / grid.size + float(hidden.mean())
    veiled = (3 - shown) * 5 / 6
    green_pixels, veiled_pixels = near(pixels, GREEN), near(pixels, (95, 134, 129))
    assert green_pixels / veiled_pixels == pytest.approx(shown / veiled, rel=0.1)


def test_a_long_grid_makes_no_strip(tmp_path):
    grid = Grid((64, 2), ("y", "x"))
    sampler = Multiblock(Multiblock.Config(min_keep=5), grid=grid)
    found = measure(sampler, grid, seed=0, steps=2, global_batch=1, view=0)
    view = View("multiblock", sampler.sample(1, Rng(0, 0, 1)), found)
    pictures = torch.zeros(1, 640, 20, 3, dtype=torch.uint8)
    draw(pictures, grid, [view], tmp_path / "masks.png")
    with Image.open(tmp_path / "masks.png") as opened:
        assert max(opened.size) < 2500


def test_numbers_on_the_terminal_are_json_alone(tmp_path, capsys):
    picture = tmp_path / "m.png"
    assert jepa_masks(*QUICKSTART, "--output", str(picture), "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["grid"]["shape"] == [7, 7]
    assert picture.exists()


@pytest.mark.parametrize("output", ["noext", "m.xyz", ""])
def test_a_picture_needs_an_ending_before_anything_is_drawn(capsys, output):
    with pytest.raises(SystemExit, match="2"):
        jepa_masks(*QUICKSTART, "--output", output)
    assert "--output" in capsys.readouterr().err
