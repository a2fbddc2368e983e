"""PCA colour maps: what a backbone tells apart, as colours over the grid."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from matplotlib.figure import Figure
from torch import Tensor

from jepa.core.grid import Grid

_INCH = 1.15
_WIDE = 1.5


def pca_colours(tokens: Tensor) -> Tensor:
    """The first three principal components of token features as red, green and blue.

    One PCA over all inputs, so that a colour means the same in each. A component's middle 98%
    spans its colour's range.

    Args:
        tokens: [B, N, D], D >= 3 and B * N >= 2.

    Returns:
        [B, N, 3] in [0, 1].
    """
    rows = rearrange(tokens.double(), "B N D -> (B N) D")
    rows = rows - rows.mean(0)
    _, axes = torch.linalg.eigh(rows.T @ rows)  # ascending
    axes = axes[:, -3:].flip(1)  # [D, 3]
    # An axis has no sign of its own; its largest entry is made positive.
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    components = rows @ (axes * largest.sign())
    low, high = torch.quantile(components, torch.tensor([0.01, 0.99]).double(), dim=0)
    scaled = (components - low) / (high - low).clamp(min=1e-12)
    colours: Tensor = scaled.clamp(0, 1).float()
    return rearrange(colours, "(B N) c -> B N c", B=tokens.shape[0])


def on_plane(values: Tensor, grid: Grid) -> Tensor:
    """Lay values of tokens out as previews lie: [B, N, C] -> [B, h, w, C].

    The last axis runs along the width, the one before it along the height, and slices of earlier
    axes stand side by side (as in `jepa.core.pictures`).
    """
    if grid.ndim == 1:
        return rearrange(values, "B x C -> B 1 x C")
    shape = (values.shape[0], -1, *grid.shape[-2:], values.shape[-1])
    return rearrange(values.reshape(shape), "B t y x C -> B y (t x) C")


def pca_sheet(
    pictures: Tensor, tokens: Mapping[str, Tensor], grid: Grid, names: tuple[str, ...]
) -> Figure:
    """Inputs and their colour maps side by side.

    Args:
        pictures: uint8 [B, H, W, 3], as `Modality.preview` gives them.
        tokens: features [B, N, D] of each backbone, by its name; each has a PCA of its own.
        grid: of the tokens.
        names: of the inputs, B of them; may be empty texts.
    """
    height, width = pictures.shape[1:3]
    maps = {name: on_plane(pca_colours(found), grid) for name, found in tokens.items()}
    kinds: dict[str, Tensor] = {"input": pictures, **maps}
    across = width <= _WIDE * height  # wide pictures read better one below the other
    rows, columns = (len(kinds), len(pictures)) if across else (len(pictures), len(kinds))
    cell = (_INCH, _INCH * height / width) if across else (4 * _INCH, 4 * _INCH * height / width)
    figure = Figure(
        figsize=(columns * cell[0] + 1.2, rows * cell[1] + 1.05), dpi=150, layout="constrained"
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for i, (kind, shown) in enumerate(kinds.items()):
        for j, picture in enumerate(shown):
            axis = axes[i, j] if across else axes[j, i]
            axis.imshow(picture.numpy(), extent=(0, width, height, 0), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if (i if across else j) == 0:
                axis.set_title(names[j] if across else kind, fontsize=8)
            if (j if across else i) == 0:
                axis.set_ylabel(kind if across else names[j], fontsize=9)
    figure.suptitle(
        "Token features as colours: three principal components over all inputs\n"
        "(the same colour means similar features; colours of different networks do not compare;\n"
        "those of an untrained network follow the raw content: outlines there are no merit)",
        fontsize=9,
    )
    return figure
