import numpy as np
import pytest
import torch
from torch import nn

from jepa.core.errors import ConfigError
from jepa.core.interfaces import Encoder
from jepa.evaluation.seeing.attention import Looks, attention_sheet, looks
from jepa.evaluation.seeing.subject import SheetError


class Silent(Encoder):
    """A stranger's encoder without attention."""

    depth = 1

    def forward(self, tokens):
        return tokens.data

    def layers(self, tokens, indices):
        return [tokens.data for _ in indices]

    def regrid(self, grid):
        """Nothing depends on it."""


def test_shares_are_multiples_of_an_even_one(subject):
    found = looks(subject, -1, 24)
    assert found.asking.shape == (3, 2, 49)
    torch.testing.assert_close(found.asking.mean(-1), torch.ones(3, 2))
    torch.testing.assert_close(found.received.mean(-1), torch.ones(3))
    prepared = subject.prepared(subject.shown.loaded)
    weights = subject.backbone.encoder.attention(subject.backbone.tokens(prepared), -1)
    torch.testing.assert_close(found.asking, 49 * weights[:, :, 24])
    torch.testing.assert_close(found.received, 49 * weights.mean((1, 2)))


def test_the_sheet_says_which_block_and_shows_each_head(subject):
    figure = attention_sheet(subject, 1)
    assert "block 2 of 4" in figure.get_suptitle()
    titles = [axis.get_title() for axis in figure.axes]
    marked = [f"of the mark,\n{name}" for name in ("all heads", "head 1", "head 2")]
    last = "of all places,\nall heads"
    for name in ("input", *marked, last):
        assert name in titles
    framed = {axis.get_title() for axis in figure.axes if axis.collections and axis.get_title()}
    assert framed == {"input", *marked}, "the last column answers for all places"
    found = looks(subject, 1, 24)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    mean = found.asking[2].mean(0).reshape(7, 7)
    assert any(a.shape == (7, 7) and np.allclose(a, mean) for a in shown)


def test_few_places_are_off_the_scale_and_the_bar_says_so(subject, monkeypatch):
    asking = torch.linspace(0, 40, 3 * 2 * 49).reshape(3, 2, 49)
    made = Looks(asking, torch.ones(3, 49))
    monkeypatch.setattr("jepa.evaluation.seeing.attention.looks", lambda *asked: made)
    figure = attention_sheet(subject)
    (bar,) = [axis for axis in figure.axes if "even share" in axis.get_ylabel()]
    (limits,) = {a.images[0].get_clim() for a in figure.axes if a.images and a.images[0].cmap.name
                 == "viridis" and a.images[0].get_array().shape == (7, 7)}  # fmt: skip
    assert 38 < limits[1] < 40
    assert f"(top: {limits[1]:.2g} or more)" in bar.get_ylabel()


def test_a_block_that_is_not_there(subject):
    with pytest.raises(ConfigError, match=r"found \[7\], allowed: -4 to 3"):
        attention_sheet(subject, 7)


def test_an_encoder_without_attention_is_named(subject, monkeypatch):
    backbone = subject.model.target.backbone
    monkeypatch.setitem(backbone._modules, "encoder", Silent())
    assert isinstance(backbone.encoder, nn.Module)
    with pytest.raises(SheetError, match="the encoder Silent shows no attention"):
        attention_sheet(subject)
