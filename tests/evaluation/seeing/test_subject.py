"""Which inputs are shown, and beside which others."""

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from jepa.core.config import load_run
from jepa.core.errors import DataError
from jepa.evaluation.seeing.subject import make_subject

CPU = torch.device("cpu")


def folder_config(config, root, cache):
    where = ["data.source=folder", f"data.root={root}", f"data.cache={cache}", "data.workers=0"]
    return attrs.evolve(config, data=load_run("image/quickstart", where).data)


def fill(folder, count):
    folder.mkdir(parents=True)
    for place in range(count):
        Image.new("L", (28, 28), 10 + place).save(folder / f"{place:02}.png")


def test_inputs_are_held_out_and_the_bank_is_of_the_training_data(subject):
    assert subject.held_out
    assert len(subject.shown) == 3
    assert len(set(subject.shown.names)) == 3
    assert len(subject.bank) == 512
    assert len(subject.source) == 8000
    assert sorted(subject.more) == list(range(8000))
    assert subject.shown.pictures.shape == (3, 28, 28, 3)


def test_the_bank_depends_on_the_seed_alone(config, built, subject):
    same, other = (make_subject(config, built, CPU, 2, seed) for seed in (0, 1))
    assert torch.equal(same.bank.loaded, subject.bank.loaded)
    assert not torch.equal(other.bank.loaded, subject.bank.loaded)


def test_without_a_test_split_nothing_that_is_shown_is_in_the_bank(tmp_path, config, built):
    fill(tmp_path / "data", 12)
    made = make_subject(folder_config(config, tmp_path / "data", tmp_path / "c"), built, CPU, 4, 0)
    assert not made.held_out
    shades = [set(i.loaded[:, 0, 0, 0].tolist()) for i in (made.shown, made.bank)]
    assert (len(shades[0]), len(shades[1])) == (4, 8)
    assert not shades[0] & shades[1]
    assert made.shown.names == ("",) * 4


def test_a_damaged_input_is_passed_over(tmp_path, config, built):
    fill(tmp_path / "data", 12)
    (tmp_path / "data" / "00.png").write_bytes(b"no picture")
    made = make_subject(folder_config(config, tmp_path / "data", tmp_path / "c"), built, CPU, 4, 0)
    assert (len(made.shown), len(made.bank)) == (3, 8)


def test_one_sample_is_too_few(tmp_path, config, built):
    fill(tmp_path / "data", 1)
    with pytest.raises(DataError, match="1 samples are too few"):
        make_subject(folder_config(config, tmp_path / "data", tmp_path / "c"), built, CPU, 4, 0)


def test_features_are_those_of_the_target(subject):
    prepared = subject.model.prepare(subject.shown.loaded)
    expected = subject.model.target.backbone(prepared)
    torch.testing.assert_close(subject.features(subject.shown.loaded), expected)
    assert np.isfinite(expected.numpy()).all()
