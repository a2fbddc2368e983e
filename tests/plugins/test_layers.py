"""Layers and positions against formulas written out again with plain loops."""

import math

import attrs
import numpy as np
import pytest
import torch
from timm.layers import build_sincos2d_pos_embed
from torch import nn

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.plugins.layers import (
    Attention,
    Block,
    DropPath,
    Positions,
    SinCos,
    attend,
    check_heads,
    initialise,
    pick,
)
from jepa.plugins.predictors.vit import ViTPredictor

YX, TYX = ("y", "x"), ("t", "y", "x")


def randn(*shape, seed=0, dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def plain_positions(places, axes, order, width):
    """recipe.md, number by number: a part for each axis, [sin | cos], cut to the width."""
    half = math.ceil(width / (2 * len(axes)))
    rows = []
    for place in places:
        row = []
        for axis in order:
            at = place[axes.index(axis)]
            angles = [at * 10000.0 ** (-i / half) for i in range(half)]
            row += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        rows.append(row[:width])
    return np.array(rows)


def positions_of(grid, built_on, width, order=None, mode="extend"):
    positions = Positions(SinCos(built_on, width, order, mode))
    if grid != built_on:
        positions.regrid(grid)
    return positions(grid.coords()[None])[0].numpy()


@pytest.mark.parametrize("width", [1, 2, 7, 8, 10, 12, 33, 96, 384])
@pytest.mark.parametrize(
    ("grid", "order"),
    [
        (Grid((9,), ("t",)), None),
        (Grid((3, 5), YX), None),
        (Grid((3, 5), YX), ("x", "y")),
        (Grid((2, 3, 4), TYX), None),
        (Grid((2, 3, 4), TYX), ("x", "t", "y")),
    ],
    ids=str,
)
def test_positions_are_the_recipe_s(grid, order, width):
    expected = plain_positions(grid.coords().tolist(), grid.axes, order or grid.axes, width)
    found = positions_of(grid, grid, width, order)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_two_axes_in_the_order_of_i_jepa_number_by_number():
    place = positions_of(Grid((4, 6), YX), Grid((4, 6), YX), 8, ("x", "y"))[2 * 6 + 5]  # y 2, x 5
    x = [math.sin(5), math.sin(0.05), math.cos(5), math.cos(0.05)]
    y = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    np.testing.assert_allclose(place, x + y, atol=1e-7)


def test_three_axes_have_v_jepa_s_parts():
    width = 1024  # 2 * ceil(1024 / 6) = 342 numbers for each of t and y, and 340 left for x
    table = positions_of(Grid((8, 14, 14), TYX), Grid((8, 14, 14), TYX), width)
    table = table.reshape(8, 14, 14, width)
    assert (table[:, :1, :1, :342] == table[..., :342]).all()
    assert (table[:1, :, :1, 342:684] == table[..., 342:684]).all()
    assert (table[:1, :1, :, 684:] == table[..., 684:]).all()
    assert (table[0, 0, 1, 684:855] == table[0, 1, 0, 342:513]).all()


@pytest.mark.parametrize("x_first", [True, False])
def test_positions_equal_timm_s(x_first):
    theirs = build_sincos2d_pos_embed([7, 9], dim=64, reverse_coord=x_first).numpy()
    # timm keeps the sines of both axes before the cosines, and with x first counts down columns.
    theirs = theirs.reshape(63, 2, 2, 16).swapaxes(1, 2)
    if x_first:
        theirs = theirs.reshape(9, 7, 64).swapaxes(0, 1)
    order = ("x", "y") if x_first else ("y", "x")
    ours = positions_of(Grid((7, 9), YX), Grid((7, 9), YX), 64, order)
    np.testing.assert_allclose(ours, theirs.reshape(63, 64), atol=1e-5)


@pytest.mark.parametrize("order", [None, ("x", "y")])
@pytest.mark.parametrize("width", [16, 21])
def test_extend_counts_on_as_if_built_there(order, width):
    small, large = Grid((3, 5), YX), Grid((8, 4), YX)
    built_there = positions_of(large, large, width, order)
    assert (positions_of(large, small, width, order, "extend") == built_there).all()


@pytest.mark.parametrize("new", [Grid((8, 4), YX), Grid((6, 10), YX), Grid((3, 7), YX)], ids=str)
def test_interpolate_stretches_the_trained_range(new):
    trained = Grid((3, 5), YX)
    # The outer edges of the first and the last token stay where they were.
    places = [
        [
            (place + 0.5) * was / side - 0.5 if side != was else place
            for place, was, side in zip(row, trained.shape, new.shape, strict=True)
        ]
        for row in new.coords().tolist()
    ]
    expected = plain_positions(places, YX, ("x", "y"), 20)
    found = positions_of(new, trained, 20, ("x", "y"), "interpolate")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("mode", ["extend", "interpolate"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_regrid_and_back_is_exact_and_keeps_the_type(mode, dtype):
    grid = Grid((3, 5), YX)
    positions = Positions(SinCos(grid, 16, None, mode)).to(dtype)
    before = positions(grid.coords()[None])
    positions.regrid(Grid((9, 2), YX))
    assert positions(torch.tensor([[[8, 1]]])).dtype == dtype
    positions.regrid(grid)
    assert torch.equal(positions(grid.coords()[None]), before)
    assert not positions.state_dict()


def test_positions_refuse_other_axes():
    positions = Positions(SinCos(Grid((3, 5), YX), 16, None, "extend"))
    with pytest.raises(ConfigError, match=r"found a grid over .*'t'.*allowed: .*'y'"):
        positions.regrid(Grid((3, 5), ("t", "x")))
    for order in (("x",), ("x", "z"), ("x", "x", "y")):
        with pytest.raises(ConfigError, match=r"position_order: found .* in any order"):
            SinCos(Grid((3, 5), YX), 16, order, "extend")


def plain_attention(q, k, v):
    """One query at a time: weights are exp(q k / sqrt(d)), normalised."""
    out = torch.empty_like(q)
    for index in np.ndindex(*q.shape[:3]):
        sample, head, _ = index
        scores = [float(q[index] @ key) / math.sqrt(q.shape[-1]) for key in k[sample, head]]
        weights = np.exp(np.array(scores) - max(scores))
        out[index] = torch.from_numpy(weights / weights.sum()) @ v[sample, head]
    return out


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (2, 5)])
def test_attend_is_softmax_attention_in_every_type(queries, keys):
    q = randn(2, 3, queries, 4, seed=1)
    k, v = randn(2, 3, keys, 4, seed=2), randn(2, 3, keys, 4, seed=3)
    expected = plain_attention(q, k, v)
    torch.testing.assert_close(attend(q, k, v), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        attend(q.float(), k.float(), v.float()), expected.float(), rtol=1e-5, atol=1e-6
    )
    rounded = [part.bfloat16() for part in (q, k, v)]
    coarse = attend(*rounded)
    assert coarse.dtype == torch.bfloat16
    expected = plain_attention(*(part.double() for part in rounded))
    torch.testing.assert_close(coarse.double(), expected, rtol=0.03, atol=0.03)
    assert attend(*(part.to("meta") for part in (q, k, v))).shape == q.shape


@pytest.mark.parametrize("keep", [1, 3, 7])
def test_keep_gives_the_last_tokens_of_the_whole(keep):
    x = randn(2, 7, 12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention, block = Attention(12, 3).double(), Block(12, 3, 20).double()
    for layer in (attention, block):
        torch.testing.assert_close(layer(x, keep), layer(x)[:, -keep:], rtol=1e-12, atol=1e-12)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    drop = DropPath(0.3).train()
    x = randn(4000, 2, 3).abs() + 1
    with torch.random.fork_rng():
        torch.manual_seed(5)
        out = drop(x)
    dropped = (out == 0).all(dim=(1, 2))
    torch.testing.assert_close(out[~dropped], x[~dropped] / 0.7)
    assert abs(dropped.double().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 4000)
    assert drop.eval()(x) is x
    assert DropPath(0.0).train()(x) is x


def test_drop_path_of_a_block_drops_both_branches_apart():
    block = Block(4, 1, 8, drop_path=0.5).double().train()
    x = randn(400, 3, 4)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        initialise(block)
        out = block(x)
    branch = 2 * block.attn(block.norm1(x))  # scaled by 1 / 0.5
    after = {False: x, True: x + branch}
    kinds = [
        torch.isclose(out, y + (2 * block.mlp(block.norm2(y)) if mlp else 0)).all(dim=(1, 2))
        for y in after.values()
        for mlp in (False, True)
    ]
    counts = [int(kind.sum()) for kind in kinds]
    assert sum(counts) == 400
    assert all(abs(count - 100) < 4 * math.sqrt(400 * 0.25 * 0.75) for count in counts)


def test_initialise_follows_the_recipe():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = nn.ModuleList([nn.Linear(300, 200), nn.Conv2d(3, 64, 16), nn.LayerNorm(200)])
        layers.append(nn.Conv1d(8, 64, 50, bias=False))
        layers.append(nn.Conv3d(3, 32, (2, 8, 8)))
        initialise(layers)
    for layer in layers:
        if isinstance(layer, nn.LayerNorm):
            assert (layer.weight == 1).all()
        else:
            weight = layer.weight.detach()
            assert abs(float(weight.std()) - 0.02) < 5 * 0.02 / math.sqrt(2 * weight.numel())
            assert abs(float(weight.mean())) < 5 * 0.02 / math.sqrt(weight.numel())
            # Normal, not uniform, and not cut at two deviations.
            assert float(weight.abs().max()) > 3 * 0.02
        if layer.bias is not None:
            assert (layer.bias == 0).all()


def test_heads_that_do_not_divide_are_refused_with_the_nearest():
    check_heads(12, 4)
    with pytest.raises(ConfigError, match="heads: 5 heads do not divide the width 12; 4 would"):
        check_heads(12, 5)


def test_pick_takes_negative_indices_and_refuses_others():
    outputs = [torch.tensor(i) for i in range(4)]
    assert [int(x) for x in pick(outputs, [-1, 0, 2, -4])] == [3, 0, 2, 0]
    with pytest.raises(ConfigError, match=r"found \[4, -5\], allowed: -4 to 3"):
        pick(outputs, [4, 1, -5])


def test_a_drop_rate_of_one_is_refused():
    with pytest.raises(ValueError, match=r"found 1\.0, allowed: 0 or more, below 1"):
        ViTPredictor.Config(drop_path=1.0)
    assert attrs.evolve(ViTPredictor.Config(), drop_path=0.99).drop_path == 0.99
