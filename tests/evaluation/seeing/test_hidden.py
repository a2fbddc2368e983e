"""Blocks cover the grid, and predictions for them are those of a training step."""

import attrs
import pytest
import torch
from einops import rearrange

from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler, Target
from jepa.core.tokens import Masks
from jepa.evaluation.seeing import hidden
from jepa.evaluation.seeing.subject import SheetError
from jepa.plugins.masks.multiblock import Multiblock

GRIDS = [Grid((9,), ("t",)), Grid((4, 7), ("y", "x")), Grid((3, 4, 4), ("t", "y", "x"))]


class Given(MaskSampler):
    """Hides the places that it is told to hide."""

    def __init__(self, places):
        self.places = torch.tensor(places)

    def sample(self, batch_size, rng):
        return Masks(torch.zeros(1, 1, dtype=torch.int64), self.places[None, None])


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_tiles_cover_every_token(grid):
    for side in (1, 2, 3):
        sides = tuple(min(side, length) for length in grid.shape)
        tiles = hidden.tiles(grid, sides)
        assert tiles.shape[1] == torch.tensor(sides).prod()
        assert set(tiles.flatten().tolist()) == set(range(grid.size))
        assert (tiles.diff(dim=1) > 0).all()
        assert len(set(map(tuple, tiles.tolist()))) == len(tiles)
        places = grid.coords()[tiles]
        assert (places.amax(1) - places.amin(1) + 1 == torch.tensor(sides)).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_inner_blocks_are_blocks_off_the_border_where_there_is_room(grid):
    sides = (2,) * grid.ndim
    blocks = hidden.inner_blocks(grid, sides, 200, seed=0)
    every = {tuple(block) for block in hidden.tiles(grid, sides).tolist()}
    assert {tuple(block) for block in blocks.tolist()} <= every
    starts = grid.coords()[blocks].amin(1)
    for axis, length in enumerate(grid.shape):
        corners = length - 1
        found = set(starts[:, axis].tolist())
        assert len(found) >= min(2, corners)
        if corners >= 4:
            assert 0 not in found
            assert corners - 1 not in found
    assert torch.equal(blocks, hidden.inner_blocks(grid, sides, 200, seed=0))
    assert not torch.equal(blocks, hidden.inner_blocks(grid, sides, 200, seed=1))


def test_blocks_are_as_large_as_those_of_training():
    grid = Grid((14, 14), ("y", "x"))
    sampler = Multiblock(Multiblock.Config(target_scale=(0.2, 0.2)), grid=grid)
    height, width = hidden.block_sides(sampler, grid, seed=0)
    assert abs(height * width - 0.2 * 196) < 10
    # Of a clip, a block that spans the time does so here.
    clip = Grid((2, 4, 4), ("t", "y", "x"))
    assert hidden.block_sides(Given([5, 6, 21, 22]), clip, 0) == (2, 1, 2)
    # What is no box becomes one, as large and in the grid's proportion.
    assert hidden.block_sides(Given([0, 5, 10, 15]), Grid((4, 4), ("y", "x")), 0) == (2, 2)


def test_blocks_are_as_large_as_those_of_the_end_of_training():
    class Grows(MaskSampler):
        def sample(self, batch_size, rng):
            return Given([0, 1, 4, 5] if rng.progress == 1 else [0]).sample(batch_size, rng)

    assert hidden.block_sides(Grows(), Grid((4, 4), ("y", "x")), 0) == (2, 2)


def test_a_block_that_is_all_leaves_nothing_to_predict_from():
    with pytest.raises(SheetError, match="leaves nothing of the grid 2 x 2"):
        hidden.block_sides(Given([0, 1, 2, 3]), Grid((2, 2), ("y", "x")), 0)


def test_the_complement_is_the_rest():
    rest = hidden.complement(torch.tensor([[0, 2], [1, 3]]), 5)
    assert rest.tolist() == [[1, 3, 4], [0, 2, 4]]


def test_predictions_and_targets_are_those_of_a_step(subject):
    prepared = subject.prepared(subject.shown.loaded)
    block = hidden.inner_blocks(subject.grid, (2, 3), len(prepared), 0)
    masks = Masks(hidden.complement(block, 49), rearrange(block, "B T -> B 1 T"))
    step = subject.model.represent(subject.shown.loaded, (masks,))
    predicted = hidden.predictions(subject, subject.shown.loaded, block)
    torch.testing.assert_close(predicted, step.predictions[0][:, 0])
    with torch.inference_mode():
        every = hidden.targets(subject.model, prepared)
    rows = torch.arange(len(prepared))[:, None]
    torch.testing.assert_close(every[rows, block], step.targets[0][:, 0])


def test_targets_are_normalised_over_everything_together(subject):
    shown, bank = hidden.normalised_targets(subject)
    rows = torch.cat([shown, bank]).flatten(0, 1)
    # The quickstart normalises by batch.
    torch.testing.assert_close(rows.mean(0), torch.zeros(rows.shape[1]), atol=1e-4, rtol=0)
    torch.testing.assert_close(rows.var(0), torch.ones(rows.shape[1]), atol=1e-2, rtol=0)


class Content(Target):
    """A target without a network: the plain content of tokens."""

    backbone = None

    def __init__(self, tokenizer):
        super().__init__()
        self._tokenizer = (tokenizer,)
        self.dim = 16

    def forward(self, inputs, views):
        raw = self._tokenizer[0].raw(inputs)
        rows = torch.arange(len(raw))[:, None, None]
        return tuple(raw[rows, masks.targets] for masks in views)


def test_targets_without_a_network_have_them_too(subject):
    model = subject.model
    was = model.target
    model.target = Content(model.backbone.tokenizer)
    try:
        prepared = subject.prepared(subject.shown.loaded)
        found = hidden.targets(model, prepared)
        torch.testing.assert_close(found, model.backbone.tokenizer.raw(prepared))
        assert attrs.evolve(subject).backbone is model.backbone
        assert subject.features(subject.shown.loaded).shape == (3, 49, 16)
    finally:
        model.target = was
