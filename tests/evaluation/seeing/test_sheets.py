import numpy as np

from jepa.evaluation.seeing import NAMES, drawing
from jepa.evaluation.seeing.colours import pca_figure
from jepa.evaluation.seeing.sheets import SHEETS, Choices, draw


def test_the_names_are_those_of_the_sheets():
    assert tuple(SHEETS) == NAMES


def test_a_sheet_is_a_picture_with_its_texts(subject):
    shown = draw("energy", subject, Choices(decoder_steps=1))
    assert shown.png.startswith(b"\x89PNG")
    assert shown.title.endswith("?")
    assert "\n" not in shown.reading
    assert "surprise" in shown.reading


def test_colours_are_of_the_trained_and_the_untrained_network(subject):
    figure = pca_figure(subject)
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert {"input", "trained", "untrained"} <= set(labels)
    assert drawing.said(figure)[0] == "What does the model tell apart?"
    # The subject was not trained: both are the network that the seed gives.
    rows = {axis.get_ylabel(): axis.images[0].get_array() for axis in figure.axes if axis.images}
    assert np.allclose(rows["trained"], rows["untrained"], atol=1e-5)
