"""Every sheet by its name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import attrs
from matplotlib.figure import Figure

from jepa.evaluation.seeing import drawing
from jepa.evaluation.seeing.attention import attention_sheet
from jepa.evaluation.seeing.colours import pca_figure
from jepa.evaluation.seeing.decoded import decoded_sheet
from jepa.evaluation.seeing.energy import energy_sheet
from jepa.evaluation.seeing.nearest import nearest_sheet
from jepa.evaluation.seeing.report import Shown
from jepa.evaluation.seeing.similarity import similarity_sheet
from jepa.evaluation.seeing.subject import Subject


@attrs.frozen(kw_only=True)
class Choices:
    """What may be chosen about the sheets.

    Args:
        block: of the encoder, whose attention is shown; -1 is the last.
        decoder_steps: of training the decoder.
        told: is called after each of them with its number.
    """

    block: int = -1
    decoder_steps: int
    told: Callable[[int], None] = lambda step: None


SHEETS: Mapping[str, Callable[[Subject, Choices], Figure]] = MappingProxyType(
    {
        "pca": lambda subject, choices: pca_figure(subject),
        "similarity": lambda subject, choices: similarity_sheet(subject),
        "attention": lambda subject, choices: attention_sheet(subject, choices.block),
        "nearest": lambda subject, choices: nearest_sheet(subject),
        "energy": lambda subject, choices: energy_sheet(subject),
        "decoded": lambda subject, choices: decoded_sheet(
            subject, choices.decoder_steps, choices.told
        ),
    }
)


def draw(name: str, subject: Subject, choices: Choices) -> Shown:
    """One sheet as a picture with its texts.

    Raises:
        SheetError: this model or its data cannot have the sheet.
    """
    figure = SHEETS[name](subject, choices)
    title, reading = drawing.said(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Shown(name, title, reading, file.getvalue())
