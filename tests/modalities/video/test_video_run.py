"""Runs on films from end to end, by the commands; and the clips of the project."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from films import film, folder, write
from PIL import Image
from safetensors.torch import load_file

import jepa
from jepa import cli
from jepa.core.config import load_run
from jepa.core.rng import SampleRng
from jepa.core.settings import unstructure
from jepa.modalities.video import VideoModality
from jepa.modalities.video.opening import open_film

pytest.importorskip("av", reason="needs PyAV: the extra `video`")

CLIPS = Path(jepa.__file__).parents[2] / "shared" / "data" / "video-clips"
SETTINGS = (
    *("--modality", "video", "data.source=class_folders", "data.split=train"),
    *("modality.frames=4", "modality.stride=2", "modality.size=[32, 32]", "model.dim=24"),
    "model.tokenizer.size=[2, 8, 8]",
    "model.encoder={name: vit, depth: 2, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 24, heads: 2, token_a_view: true, token_std: 0.0}",
    "masks=[{name: tube, through: [t], num_targets: 3, min_keep: 4}, "
    "{name: tube, through: [t], num_targets: 1, target_scale: [0.5, 0.5], min_keep: 4}]",
    "optim.warmup_epochs=0",
    "data.max_bad_fraction=0.2",
    "train={global_batch: 8, max_steps: 4, log_every: 1, device: cpu, precision: fp32}",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """train/ and test/ of films that rise and films that fall, and one file that is no film."""
    root = tmp_path_factory.mktemp("films")
    for split, each in (("train", 8), ("test", 4)):
        for label in ("up", "down"):
            (root / split / label).mkdir(parents=True)
            for place in range(each):
                frames = film(20 + place)[:: -1 if label == "down" else 1]
                write(root / split / label / f"{place}.{('mp4', 'mkv')[place % 2]}", frames)
    (root / "train" / "up" / "broken.mp4").write_bytes(b"no film" * 50)
    return root


def train(output: Path, data: Path, *more: str) -> Path:
    place = [f"data.root={data}", f"data.cache={data.parent / 'cache'}"]
    assert cli.main(["train", "--output", str(output), *SETTINGS, *place, *more]) == 0
    return output


@pytest.fixture(scope="module")
def run(tmp_path_factory, data) -> Path:
    observers = "observers=[jsonl, health, {name: tensorboard, pictures_every: 2}]"
    return train(
        tmp_path_factory.mktemp("runs") / "a",
        data,
        "data.workers=0",
        observers,
        "checkpoint.every=4",
    )


def weights(run: Path) -> list[bytes]:
    folder = run / "checkpoints" / "step_00000004"
    return [(folder / f"{stem}.safetensors").read_bytes() for stem in ("model", "target")]


def test_workers_change_nothing(run, data, tmp_path):
    other = train(tmp_path / "b", data, "data.workers=2", "observers=[]", "checkpoint.every=4")
    assert weights(other) == weights(run)


def test_a_file_that_is_no_film_is_reported_like_a_broken_picture(run):
    (line,) = (run / "bad_samples.jsonl").read_text().splitlines()
    told = json.loads(line)
    assert told["name"] == "up/broken.mp4"
    assert "no film of a known format" in told["reason"]


def test_each_view_has_a_token_of_its_own_and_the_grid_three_axes(run):
    saved = load_file(run / "checkpoints" / "step_00000004" / "model.safetensors")
    (tokens,) = (tensor for name, tensor in saved.items() if name.endswith("mask_token"))
    assert tokens.shape[0] == 2
    assert not torch.equal(tokens[0], tokens[1])
    grid = jepa.load(run).backbone.tokenizer.grid
    assert (grid.axes, grid.shape) == (("t", "y", "x"), (2, 4, 4))


def test_a_trained_encoder_takes_any_film(run, tmp_path):
    model = jepa.load(run)
    contents = [
        write(tmp_path / "a.gif", film(12)),
        film(9),
        folder(tmp_path / "clip", film(11)),
    ]
    inputs = torch.stack([model.transform(content) for content in contents])
    assert model(inputs).shape == (3, 24)
    assert model.tokens(inputs).shape == (3, 32, 24)


@pytest.mark.slow
def test_every_command_works(run, data, tmp_path, capsys):
    def says(*command: str) -> str:
        assert cli.main(list(command)) == 0
        return capsys.readouterr().out

    says("check", *SETTINGS)
    masks = tmp_path / "masks.png"
    drawn = ["--output", str(masks), "--batches", "5", "--samples", "2"]
    assert "2 x 4 x 4 (t, y, x)" in says("masks", *SETTINGS, f"data.root={data}", *drawn)
    assert min(Image.open(masks).size) > 200
    said = says("eval", str(run), "--protocol", "knn", "--protocol", "attentive")
    assert "attentive" in said
    (scores,) = (run / "eval").glob("*.json")
    rows = json.loads(scores.read_text())["rows"]
    raw = {row["protocol"]: row for row in rows if row["features"] == "raw baseline"}
    assert raw.keys() == {"knn", "attentive"}
    says("report", str(run), "--output", str(tmp_path / "report"))
    few = ["--samples", "2", "--decoder-steps", "3", "--output", str(tmp_path / "seen")]
    assert "left out" not in says("visualize", str(run), *few)
    assert len(list((tmp_path / "seen").glob("*.png"))) == 6
    features = tmp_path / "features.npz"
    says("embed", str(run), "--data", str(data / "test"), "--output", str(features))
    assert np.load(features)["features"].shape == (8, 24)
    sheet = tmp_path / "near.png"
    query = ["--query", str(data / "test" / "up" / "2.mp4"), "--k", "3"]
    says("neighbors", str(run), *query, "--output", str(sheet))
    assert Image.open(sheet).width > 3 * Image.open(sheet).height, "strips of two frames a film"
    frames = str(folder(tmp_path / "clip", film(11)))
    query = ["--query", frames, "--k", "3"]
    assert frames in says("neighbors", str(run), *query, "--output", str(sheet))


# recipe.md, section 2.
TUBE = {"name": "tube", "through": ["t"], "target_aspect": [0.75, 1.5]}
SHORT = {**TUBE, "num_targets": 8, "target_scale": [0.15, 0.15]}
LONG = {**TUBE, "num_targets": 2, "target_scale": [0.7, 0.7]}
V_JEPA = {
    "modality": {
        "name": "video",
        "frames": 16,
        "stride": 4,
        "fps": None,
        "size": [224, 224],
        "crop_scale": [0.3, 1.0],
        "crop_ratio": [0.75, 1.35],
        "flip": True,
    },
    "tokenizer": {"name": "patch", "size": [2, 16, 16]},
    "predictor": {"name": "vit", "depth": 12, "dim": 384, "token_a_view": True, "token_std": 0.0},
    "target": {"name": "ema", "start": 0.998, "end": 1.0, "layers": 1},
    "objective": {"name": "l1", "normalise": "layer"},
}


@pytest.mark.parametrize(
    ("named", "preset", "heads"),
    [("video/vjepa_vitl16", "large", 16), ("video/vjepa_vith16", "huge", 16), (None, "base", None)],
    ids=["vitl16", "vith16", "defaults"],
)
def test_the_recipe_of_v_jepa(named, preset, heads):
    bare = ["modality=video", "train={global_batch: 8, epochs: 1}"]
    found = unstructure(load_run(named, [] if named else bare))
    parts = {**found["model"], "modality": found["modality"]}
    for part, wanted in V_JEPA.items():
        assert {key: parts[part][key] for key in wanted} == wanted
    for mask, wanted in zip(found["masks"], (SHORT, LONG), strict=True):
        assert {key: mask[key] for key in wanted} == wanted
        assert named is None or mask["trim_group"] == 24
    assert parts["encoder"]["preset"] == preset
    assert parts["predictor"]["heads"] == heads  # null: the encoder's
    for part in (parts["encoder"], parts["predictor"]):
        assert part["position_order"] in (None, ["t", "y", "x"])


# --- the clips of the project -------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips() -> list[Path]:
    found = sorted(CLIPS.glob("*.mp4"))
    if not found:
        pytest.skip(f"{CLIPS} is not there")
    return found


def test_the_clips_of_the_project_load(clips):
    """Their README counts 35 files and 2448 frames."""
    assert (len(clips), sum(open_film(clip).length for clip in clips)) == (35, 2448)
    made = VideoModality(VideoModality.Config(frames=8, stride=2, size=(48, 48), fps=7.5))
    for place, clip in enumerate(clips):
        for found in (made.eval_input(clip), made.train_input(clip, SampleRng(0, 0, place))):
            assert found.shape == (3, 8, 48, 48)
            assert found.float().std() > 5


def test_a_jump_and_decoding_from_the_start_give_the_same_frames(clips):
    (long,) = (clip for clip in clips if clip.stem == "bottle-detection")
    opened = open_film(long)
    whole = dict(opened.frames(range(opened.length)))
    assert len(whole) == opened.length > 100
    for place in range(0, opened.length, 37):
        ((_, alone),) = opened.frames([place])
        assert np.array_equal(alone, whole[place])
