"""Colours are the principal components, laid out as pictures are."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from jepa.core.grid import Grid
from jepa.evaluation.pca import on_plane, pca_colours, pca_sheet


def test_colours_are_the_first_three_components():
    rng = torch.Generator().manual_seed(0)
    tokens = torch.randn(5, 40, 12, generator=rng) * torch.arange(12, 0, -1) ** 1.5 + 7
    colours = pca_colours(tokens).reshape(-1, 3)
    oracle = PCA(3).fit_transform(tokens.reshape(-1, 12).numpy())
    assert colours.min() == 0
    assert colours.max() == 1
    inside = ((colours > 0) & (colours < 1)).all(1).numpy()
    assert inside.mean() > 0.9
    for component in range(3):
        ours, theirs = colours[inside, component].numpy(), oracle[inside, component]
        assert abs(np.corrcoef(ours, theirs)[0, 1]) > 0.999


def test_the_order_of_inputs_does_not_flip_colours():
    tokens = torch.randn(4, 9, 8, generator=torch.Generator().manual_seed(0))
    back = pca_colours(tokens.flip(0)).flip(0)
    torch.testing.assert_close(pca_colours(tokens), back, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("shape", "plane"), [((6,), (1, 6)), ((2, 3), (2, 3)), ((4, 2, 3), (2, 12))]
)
def test_planes_of_grids_of_one_to_three_axes(shape, plane):
    grid = Grid(shape, "tyx"[-len(shape) :])
    values = torch.arange(grid.size, dtype=torch.float32)[None, :, None].repeat(2, 1, 3)
    laid = on_plane(values, grid)
    assert laid.shape == (2, *plane, 3)
    cube = torch.arange(grid.size).reshape((1,) * (3 - len(shape)) + shape)
    slices = [cube[t] for t in range(cube.shape[0])]
    assert torch.equal(laid[1, :, :, 0], torch.cat(slices, 1).float())


@pytest.mark.parametrize(("size", "shape"), [((28, 28), (7, 7)), ((20, 200), (10,))])
def test_a_sheet_shows_inputs_and_each_backbone(size, shape, tmp_path):
    grid = Grid(shape, ("y", "x")[-len(shape) :])
    rng = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(3, grid.size, 8, generator=rng) for name in ("trained", "random")}
    pictures = torch.randint(0, 255, (3, *size, 3), dtype=torch.uint8, generator=rng)
    figure = pca_sheet(pictures, tokens, grid, ("a", "b", "c"))
    assert len(figure.axes) == 9
    shown = [axis.images[0].get_array() for axis in figure.axes]
    assert sum(picture.shape == (*size, 3) for picture in shown) == 3
    colours = on_plane(pca_colours(tokens["random"]), grid)[2].numpy()
    assert any(p.shape == colours.shape and np.allclose(p, colours) for p in shown)
    said = {a.get_title() for a in figure.axes} | {a.get_ylabel() for a in figure.axes}
    assert {"a", "b", "c", "input", "trained", "random"} <= said
