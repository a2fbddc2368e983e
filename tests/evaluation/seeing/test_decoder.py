"""The decoder's guesses agree where the prediction says what is there, and differ elsewhere."""

import numpy as np
import pytest
import torch

from jepa.core.rng import SampleRng
from jepa.evaluation.seeing.content import Cells
from jepa.evaluation.seeing.decoded import block_spread, decoded_sheet, training_pairs
from jepa.evaluation.seeing.decoder import Pairs, basis, train_decoder
from jepa.evaluation.seeing.drawing import said

CPU = torch.device("cpu")


def toy(n=512):
    """Predictions [n, 1, 2]: the first number says whether the content is told by the second.

    Where it is, the content is the second number; else it is 0.8 or -0.8 by the toss of a coin.
    """
    draw = SampleRng(0, 0, 0).uniforms(3 * n).reshape(3, n)
    told, value = draw[0] < 0.5, 1.6 * draw[1] - 0.8
    coin = np.where(draw[2] < 0.5, 0.8, -0.8)
    predictions = np.stack([told * 2.0 - 1.0, told * value * 2], axis=1)[:, None]
    contents = np.where(told, value, coin)[:, None, None]
    return Pairs(torch.from_numpy(predictions).float(), torch.from_numpy(contents).float())


@pytest.fixture(scope="module")
def sampler():
    before = torch.random.get_rng_state()
    made = train_decoder(toy(), 300, seed=0, device=CPU)
    assert torch.equal(torch.random.get_rng_state(), before), "no trace in torch's generator"
    return made


def test_guesses_agree_where_the_prediction_tells(sampler):
    asked = torch.tensor([[[1.0, 1.2]], [[1.0, -1.0]]])
    found = sampler.sample(asked, 64, seed=1)
    assert found.shape == (2, 64, 1, 1)
    assert found.mean(1).flatten().tolist() == pytest.approx([0.6, -0.5], abs=0.15)
    assert found.std(1).max() < 0.2


def test_guesses_differ_where_it_does_not(sampler):
    found = sampler.sample(torch.tensor([[[-1.0, 0.0]]]), 200, seed=1).flatten()
    assert 0.3 < (found > 0).float().mean() < 0.7, "both are as likely"
    assert found.std() > 0.6
    near = (found.abs() - 0.8).abs() < 0.3
    assert near.float().mean() > 0.7, "a guess is one of both and not their mean"


def test_seeds_decide_everything(sampler):
    asked = torch.tensor([[[-1.0, 0.0]]])
    assert torch.equal(sampler.sample(asked, 5, 1), sampler.sample(asked, 5, 1))
    assert not torch.equal(sampler.sample(asked, 5, 1), sampler.sample(asked, 5, 2))
    first, again, other = (train_decoder(toy(32), 3, seed, CPU) for seed in (0, 0, 1))
    assert torch.equal(first.sample(asked, 5, 1), again.sample(asked, 5, 1))
    assert not torch.equal(first.sample(asked, 5, 1), other.sample(asked, 5, 1))


def test_components_hold_nearly_all_of_the_content():
    draw = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 3))).float()
    ways = torch.linalg.qr(torch.from_numpy(np.random.default_rng(1).normal(size=(8, 8))))[0]
    sizes = torch.tensor([3.0, 1.0, 0.01])
    contents = ((draw * sizes) @ ways[:3].float() + 0.5).reshape(300, 2, 4)
    found = basis(contents)
    assert found.axes.shape == (2, 8), "the third way holds less than 2% of the variance"
    torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(2), atol=1e-5, rtol=0)
    components = found.components(contents)
    torch.testing.assert_close(components.std(0), torch.ones(2), atol=0.02, rtol=0)
    torch.testing.assert_close(found.contents(components, 2), contents, atol=0.05, rtol=0)


def test_content_that_never_varies_has_components_too():
    contents = torch.full((5, 2, 3), 0.25)
    found = basis(contents)
    assert torch.isfinite(found.components(contents)).all()
    assert torch.equal(found.contents(torch.zeros(1, len(found.spread)), 2), contents[:1])


def test_pairs_are_hidden_blocks_and_what_is_behind_them(subject, monkeypatch):
    monkeypatch.setattr("jepa.evaluation.seeing.decoded._INPUTS", 20)
    cut = Cells(subject.grid, 4, 4, 1)
    pairs = training_pairs(subject, (2, 3), cut)
    assert pairs.predictions.shape == (40, 6, 16)
    assert pairs.contents.shape == (40, 6, 16)
    # The content of the first block is a block of the first input.
    whole = cut.cut(subject.bank.pictures[:1])[0]
    assert all((whole == token).all(-1).any() for token in pairs.contents[0])


def test_the_spread_is_that_of_levels():
    guesses = torch.zeros(1, 2, 1, 6)
    guesses[0, 1, 0, :3] = 1.0
    spread = block_spread(guesses, Cells(None, 1, 2, 3))
    torch.testing.assert_close(spread, torch.tensor([[[127.5 * 0.5**0.5, 0.0]]]))


def test_the_sheet_pastes_guesses_into_the_block_alone(subject, monkeypatch):
    monkeypatch.setattr("jepa.evaluation.seeing.decoded._INPUTS", 64)
    steps = []
    figure = decoded_sheet(subject, 2, steps.append)
    assert steps == [1, 2]
    rows = {axis.get_title(): axis for axis in figure.axes if axis.get_title()}
    assert {"input", "hidden block", "guess 1", "guess 5", "spread"} <= set(rows)
    picture = subject.shown.pictures[0].numpy()
    guesses = [rows[f"guess {n}"].images[0].get_array() for n in (1, 2)]
    changed = [(np.asarray(guess) != picture).any(-1) for guess in guesses]
    outside = np.asarray(rows["hidden block"].images[1].get_array())[..., 3] == 0
    outside = outside[::6, ::6].repeat(4, 0).repeat(4, 1)  # tokens of 4 x 4 dots
    for where in changed:
        assert where.any()
        assert not where[outside].any()
    assert not np.array_equal(*guesses)
    spread = np.asarray(rows["spread"].images[0].get_array())
    assert spread.size == (~outside).sum(), "the block alone, enlarged"
    assert "32 guesses, of which 5 are shown" in said(figure)[1]
