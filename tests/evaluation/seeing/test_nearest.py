import numpy as np
import pytest
import torch

from jepa.evaluation.seeing import hidden
from jepa.evaluation.seeing.nearest import chance, nearest_sheet, nearest_tokens


def randn(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).float()


def test_a_planted_twin_is_the_first_match():
    bank, asked = randn(30, 9, 8), 4 * randn(2, 8, seed=1)
    bank[17, 5] = asked[0] * 3
    bank[17, 6] = asked[0] + 0.1  # an input serves once, with its best token
    bank[3, 8] = asked[0] + 0.5
    bank[2, 0] = asked[1]
    found = nearest_tokens(bank, asked, 4)
    assert (found.inputs[0, :2].tolist(), found.tokens[0, :2].tolist()) == ([17, 3], [5, 8])
    assert (found.inputs[1, 0], found.tokens[1, 0]) == (2, 0)
    assert found.similarity[:, 0].tolist() == pytest.approx([1, 1])
    assert (found.similarity.diff(dim=1) <= 0).all()
    assert all(len(set(row)) == 4 for row in found.inputs.tolist())


def test_matches_are_a_plain_search():
    bank, asked = randn(5, 4, 6), randn(1, 6, seed=1)
    cosines = torch.nn.functional.cosine_similarity(bank, asked[0], dim=-1)
    found = nearest_tokens(bank, asked, 9)
    order = sorted(range(5), key=lambda n: -float(cosines[n].max()))
    assert found.inputs[0].tolist() == order
    assert found.tokens[0].tolist() == [int(cosines[n].argmax()) for n in order]


def test_chance_is_the_median_of_all_places():
    bank, asked = randn(5, 4, 6), randn(2, 6, seed=1)
    for row, found in zip(asked, chance(bank, asked), strict=True):
        cosines = torch.nn.functional.cosine_similarity(bank.flatten(0, 1), row, dim=-1)
        assert found == pytest.approx(float(cosines.sort().values[9]))  # the lower of two


def test_the_sheet_shows_the_input_whose_token_was_predicted(subject, monkeypatch):
    """A predictor that answers with one token of the bank finds just this one."""
    _, bank = hidden.normalised_targets(subject)
    answer = bank[123, 40]
    monkeypatch.setattr(
        hidden, "predict", lambda model, prepared, places: answer.expand(*places.shape, -1)
    )
    figure = nearest_sheet(subject)
    (first, *_) = [axis for axis in figure.axes if axis.get_title() == "nearest 1"]
    assert np.array_equal(first.images[0].get_array(), subject.bank.pictures[123].numpy())
    assert first.get_xlabel() == f"{subject.bank.names[123]} 1.00"
    labels = [axis.get_xlabel() for axis in figure.axes]
    (right,) = [axis for axis in figure.axes if axis.get_title() == "the truth"]
    col, row = np.concatenate(right.collections[0].get_segments()).min(0)
    truth = hidden.normalised_targets(subject)[0][0, int(7 * row + col)]
    near = torch.nn.functional.cosine_similarity(truth, answer, dim=0)
    assert right.get_xlabel().startswith("truth ")
    assert float(right.get_xlabel().split()[1]) == pytest.approx(float(near), abs=0.006)
    (usual,) = {label for label in labels if label.startswith("chance")}
    assert float(usual.split()[1]) == pytest.approx(float(chance(bank, answer[None])), abs=0.006)
    # The outline stands around row 5, column 5.
    lines = np.concatenate(first.collections[0].get_segments())
    assert lines.min(0).tolist() == [5, 5]
    assert lines.max(0).tolist() == [6, 6]
