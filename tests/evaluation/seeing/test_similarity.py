import attrs
import numpy as np
import pytest
import torch

from jepa.core.grid import Grid
from jepa.evaluation.seeing.similarity import ask, middle, similarity, similarity_sheet
from jepa.evaluation.seeing.subject import Inputs, SheetError


def test_similarity_is_the_cosine():
    draw = np.random.default_rng(0)
    own, other = draw.normal(size=(6, 5)), draw.normal(size=(6, 5))
    found = similarity(torch.from_numpy(own), torch.from_numpy(other), torch.tensor([4, 1]))
    for row, token in enumerate((4, 1)):
        for place in range(6):
            cosine = own[token] @ other[place]
            cosine /= np.linalg.norm(own[token]) * np.linalg.norm(other[place])
            assert found[row, place].item() == pytest.approx(cosine)


def test_a_is_in_the_middle_and_b_is_what_is_least_like_it():
    grid = Grid((3, 4), ("y", "x"))
    assert middle(grid) == 6
    features = torch.ones(2, 12, 3)
    features[0, 9] = torch.tensor([-1.0, -1.0, -1.0])
    first, second = ask(features, grid)
    assert first.tokens.tolist() == [6, 9]
    assert first.own[0].tolist() == pytest.approx([1.0] * 9 + [-1.0] + [1.0] * 2)
    assert first.other[1].tolist() == pytest.approx([-1.0] * 12)  # the second input is all ones
    assert second.other[0, 9].item() == pytest.approx(-1.0)  # the last is compared with the first


def test_the_sheet_shows_the_maps_and_one_colour_bar(subject):
    figure = similarity_sheet(subject)
    maps = [axis.images[0] for axis in figure.axes if axis.images]
    heat = [drawn for drawn in maps if drawn.get_array().shape == (7, 7)]
    assert len(heat) == 4 * len(subject.shown)
    assert len({drawn.get_clim() for drawn in heat}) == 1
    features = subject.features(subject.shown.loaded)
    (own,) = similarity(features[0], features[0], torch.tensor([24]))
    assert any(np.allclose(drawn.get_array(), own.reshape(7, 7)) for drawn in heat)
    assert len([axis for axis in figure.axes if "cosine" in axis.get_ylabel()]) == 1


def test_one_input_cannot_be_compared(subject):
    shown = subject.shown
    alone = Inputs(shown.loaded[:1], shown.pictures[:1], shown.names[:1])
    with pytest.raises(SheetError, match="there is only one"):
        similarity_sheet(attrs.evolve(subject, shown=alone))
