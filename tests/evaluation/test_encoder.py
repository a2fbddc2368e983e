"""`jepa.load`: three lines from a file name to features."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import jepa
from jepa.core.errors import CheckpointError, DecodeError
from jepa.evaluation.loading import load_backbone


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_from_a_file_to_features(run_folder, picture):
    model = jepa.load(run_folder)
    inputs = torch.stack([model.transform(str(picture)), model.transform(picture.read_bytes())])
    features = model(inputs)

    backbone, modality, _ = load_backbone(run_folder)
    expected = backbone(modality.device_transform()(modality.eval_input(picture)[None]))
    assert features.shape == (2, model.dim)
    assert torch.equal(features[0], features[1])
    torch.testing.assert_close(features[:1], expected.mean(dim=1))
    torch.testing.assert_close(model.tokens(inputs)[:1], expected)
    assert not model.training
    assert not features.requires_grad


def test_a_checkpoint_and_its_run_give_the_same(run_folder, picture):
    one, other = jepa.load(str(run_folder)), jepa.load(run_folder / "checkpoints/step_00000007")
    inputs = one.transform(picture)[None]
    assert torch.equal(one(inputs), other(inputs))


def test_it_is_a_module_like_others(run_folder, picture):
    model = jepa.load(run_folder).to(torch.float64)
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    weights = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights)
    assert torch.equal(dict(model.named_parameters())["backbone.encoder.norm.weight"],
                       weights["backbone.encoder.norm.weight"])  # fmt: skip


def test_what_cannot_be_loaded_is_named(run_folder, tmp_path):
    with pytest.raises(CheckpointError, match="no such folder"):
        jepa.load(tmp_path / "nowhere")
    model = jepa.load(run_folder)
    (tmp_path / "a.png").write_bytes(b"no picture")
    for name in ("a.png", "b.png"):
        with pytest.raises(DecodeError, match=f"{name}: "):
            model.transform(tmp_path / name)


def test_importing_it_imports_no_torch():
    code = "import sys, jepa; jepa.load; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
