"""The sheet of PCA colour maps."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from jepa.evaluation.loading import random_backbone
from jepa.evaluation.pca import pca_sheet
from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.subject import BATCH, SheetError, Subject

TITLE = "What does the model tell apart?"
READING = (
    "Places with similar features have similar colours (their first three principal components, "
    "over all inputs together). In 'trained', look for places that mean the same and have "
    "the same colour in different inputs; a smooth gradient that lies alike over every input means "
    "position. 'untrained' is the same network before training: its colours follow the raw content "
    "(how bright it is, and of what colour), so clear outlines there are no merit. Colours of "
    "'trained' do not compare with those of 'untrained'."
)
_COMPONENTS = 3


def pca_figure(subject: Subject) -> Figure:
    """Inputs, and colour maps of the trained network and of its random start.

    Raises:
        SheetError: features have less than three dimensions.
    """
    if subject.backbone.dim < _COMPONENTS:
        raise SheetError(
            f"colours take {_COMPONENTS} features, and there are {subject.backbone.dim}"
        )
    shown = subject.shown
    initial = random_backbone(subject.config, subject.built.modality, subject.config.train.seed)
    initial.to(subject.device)
    with torch.inference_mode():
        untrained = [initial(subject.prepared(part)) for part in torch.split(shown.loaded, BATCH)]
    tokens = {
        "trained": subject.features(shown.loaded),
        "untrained": torch.cat(untrained).float().cpu(),
    }
    figure = pca_sheet(shown.pictures, tokens, subject.grid, shown.names)
    drawing.say(figure, TITLE, READING)
    return figure
