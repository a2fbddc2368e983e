"""A checkpoint gives back the network it holds, and says what is wrong with it otherwise."""

import pytest
import torch

from jepa.core.config import to_yaml
from jepa.core.errors import CheckpointError
from jepa.core.settings import unstructure
from jepa.core.training import checkpoint
from jepa.evaluation.loading import find_checkpoint, load_backbone, random_backbone


def test_the_target_comes_back_frozen(run_folder, trained, config, modality):
    backbone, found, settings = load_backbone(run_folder)
    inputs = torch.rand(2, *modality.spec.shape)
    assert torch.equal(backbone(inputs), trained.eval()(inputs))
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert found.spec == modality.spec
    assert unstructure(settings) == {**unstructure(config), "observers": []}
    direct = load_backbone(run_folder / "checkpoints" / "step_00000007").backbone
    assert torch.equal(direct(inputs), backbone(inputs))


def test_an_observer_that_is_gone_is_no_hindrance(tmp_path, trained, config):
    settings = {**unstructure(config), "observers": [{"name": "sold_with_the_last_package"}]}
    checkpoint.save(
        tmp_path / "checkpoints",
        3,
        tensors={"model": {}, "target": trained.state_dict()},
        documents={"config.yaml": to_yaml(settings)},
    )
    assert load_backbone(tmp_path).config.observers == ()


def test_without_a_target_network_the_context_encoder_serves(tmp_path, trained, config):
    online = {f"backbone.{name}": t for name, t in trained.state_dict().items()}
    checkpoint.save(
        tmp_path / "checkpoints",
        3,
        tensors={"model": {**online, "predictor.x": torch.ones(1)}, "target": {}},
        documents={"config.yaml": to_yaml(unstructure(config))},
    )
    loaded = load_backbone(tmp_path).backbone.state_dict()
    assert all(torch.equal(loaded[name], t) for name, t in trained.state_dict().items())


def test_random_init_is_the_start_of_the_run(config, modality, trained):
    weight = dict(random_backbone(config, modality, config.train.seed).named_parameters())
    for name, parameter in trained.named_parameters():
        torch.testing.assert_close(weight[name], parameter - 0.01, atol=1e-6, rtol=0)
    other = random_backbone(config, modality, 99).tokenizer.state_dict()
    assert any(not torch.equal(t, weight[f"tokenizer.{n}"]) for n, t in other.items() if t.any())


def test_says_what_is_missing_or_damaged(tmp_path, run_folder):
    with pytest.raises(CheckpointError, match="no such folder"):
        load_backbone(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint in it"):
        load_backbone(tmp_path / "empty")
    file = run_folder / "checkpoints" / "step_00000007" / "target.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        find_checkpoint(file.parent)
    with pytest.raises(CheckpointError, match="is valid"):
        load_backbone(run_folder)
