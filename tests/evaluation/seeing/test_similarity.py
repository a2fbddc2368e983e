import attrs
import numpy as np
import pytest
import torch

from jepa.core.grid import Grid
from jepa.evaluation.seeing.similarity import (
    ask,
    liveliest,
    middle,
    similarity,
    similarity_sheet,
)
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


def test_a_is_where_content_varies_most_off_the_middle():
    grid = Grid((3, 4), ("y", "x"))
    assert middle(grid) == 6
    pictures = torch.full((2, 6, 8, 3), 90, dtype=torch.uint8)
    pictures[0, 0:2, 6:8, 0] = 255  # token 3 has a colour, and does not vary
    pictures[:, 2, 4] = 255  # token 6 varies most, in the middle
    pictures[0, 4, 2] = 150  # token 9
    pictures[1, 0, 0, 2] = 0  # token 0
    assert liveliest(pictures, grid).tolist() == [9, 0]
    assert liveliest(pictures, Grid((1,), ("t",))).tolist() == [0, 0], "there is no other"


def test_b_is_what_is_least_like_a():
    features = torch.ones(2, 12, 3)
    features[0, 9] = torch.tensor([-1.0, -1.0, -1.0])
    first, second = ask(features, torch.tensor([6, 6]))
    assert first.tokens.tolist() == [6, 9]
    assert first.own[0].tolist() == pytest.approx([1.0] * 9 + [-1.0] + [1.0] * 2)
    assert first.other[1].tolist() == pytest.approx([-1.0] * 12)  # the second input is all ones
    assert second.other[0, 9].item() == pytest.approx(-1.0)  # the last is compared with the first


def test_the_sheet_shows_the_maps_and_one_colour_bar(subject):
    figure = similarity_sheet(subject)
    maps = [axis.images[0] for axis in figure.axes if axis.images]
    heat = [drawn for drawn in maps if drawn.get_array().shape == (7, 7)]
    assert len(heat) == 4 * len(subject.shown)
    assert {drawn.get_clim() for drawn in heat} == {(-1.0, 1.0)}, "no similarity is white"
    features = subject.features(subject.shown.loaded)
    mark = liveliest(subject.shown.pictures, subject.grid)[0]
    (own,) = similarity(features[0], features[0], mark[None])
    assert any(np.allclose(drawn.get_array(), own.reshape(7, 7)) for drawn in heat)
    assert len([axis for axis in figure.axes if "cosine" in axis.get_ylabel()]) == 1


def test_both_inputs_are_named_and_the_other_shows_the_spot_of_the_mark(subject):
    figure = similarity_sheet(subject)
    by_title = {}
    for axis in figure.axes:
        by_title.setdefault(axis.get_title(), []).append(axis)
    assert by_title["input"][0].get_ylabel() == subject.shown.names[0]
    assert by_title["another input"][0].get_ylabel() == subject.shown.names[1]
    own, other = by_title["similar to A"]
    token = int(liveliest(subject.shown.pictures, subject.grid)[0])
    (spot,) = other.patches
    assert (spot.get_y(), spot.get_x()) == divmod(token, 7)
    assert len(own.collections) == 3, "the frame and its edges"
    assert not other.collections


def test_one_input_cannot_be_compared(subject):
    shown = subject.shown
    alone = Inputs(shown.loaded[:1], shown.pictures[:1], shown.names[:1])
    with pytest.raises(SheetError, match="there is only one"):
        similarity_sheet(attrs.evolve(subject, shown=alone))
