"""The patch tokenizer against torch's convolutions and plain slices."""

import numpy as np
import pytest
import torch
from torch import nn

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.plugins.tokenizers.patch import PatchTokenizer

CASES = [
    (InputSpec((2, 12), ("t",)), (3,), Grid((4,), ("t",))),
    (InputSpec((3, 8, 6), ("y", "x")), (2, 3), Grid((4, 2), ("y", "x"))),
    (InputSpec((1, 4, 6, 8), ("t", "y", "x")), (2, 3, 4), Grid((2, 2, 2), ("t", "y", "x"))),
]


def tokenizer_of(spec, size, dim=7):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PatchTokenizer(PatchTokenizer.Config(size=size), spec=spec, dim=dim)


def inputs_of(shape, batch=2):
    return torch.from_numpy(np.random.default_rng(0).normal(size=(batch, *shape)))


@pytest.mark.parametrize(("spec", "size", "grid"), CASES)
def test_tokens_are_the_convolution_s(spec, size, grid):
    tokenizer, inputs = tokenizer_of(spec, size).double(), inputs_of(spec.shape)
    nn.init.normal_(tokenizer.proj.bias, generator=torch.Generator().manual_seed(1))
    tokens = tokenizer(inputs)
    assert tokenizer.grid == grid
    convolved = tokenizer.proj(inputs).flatten(2).transpose(1, 2)
    torch.testing.assert_close(tokens.data, convolved, rtol=1e-12, atol=1e-12)
    assert torch.equal(tokens.coords, grid.coords().expand(2, -1, -1))
    assert set(tokenizer.state_dict()) == {"proj.weight", "proj.bias"}
    assert tokenizer.proj.weight.shape == (7, spec.shape[0], *size)


@pytest.mark.parametrize(("spec", "size", "grid"), CASES)
def test_raw_is_the_plain_content_of_each_token(spec, size, grid):
    inputs = inputs_of(spec.shape)
    raw = tokenizer_of(spec, size).raw(inputs)
    for token, place in enumerate(grid.coords().tolist()):
        sides = [slice(at * p, (at + 1) * p) for at, p in zip(place, size, strict=True)]
        for sample in range(2):
            assert torch.equal(raw[sample, token], inputs[sample][:, *sides].flatten())


def test_inputs_of_another_size_have_their_own_grid():
    spec, size, _ = CASES[1]
    tokenizer = tokenizer_of(spec, size).double()
    tokens = tokenizer(inputs_of((3, 4, 15)))
    other = Grid((2, 5), ("y", "x"))
    assert tokenizer.grid_for((3, 4, 15)) == other
    assert torch.equal(tokens.coords[1], other.coords())
    assert tokens.data.shape == (2, 10, 7)
    assert tokenizer.grid == Grid((4, 2), ("y", "x"))


@pytest.mark.parametrize("sides", [(8, 7), (9, 6), (1, 6), (8,), (8, 6, 3)])
def test_inputs_that_patches_do_not_divide_are_refused(sides):
    spec, size, _ = CASES[1]
    tokenizer = tokenizer_of(spec, size).double()
    message = (
        rf"size: patches of \[2, 3\] do not divide an input of \[{', '.join(map(str, sides))}\]"
    )
    with pytest.raises(ConfigError, match=message):
        tokenizer.grid_for((3, *sides))
    with pytest.raises(ConfigError, match=message):
        tokenizer(inputs_of((3, *sides)))


@pytest.mark.parametrize("size", [(2,), (2, 2, 2)])
def test_a_patch_has_a_side_for_each_axis(size):
    with pytest.raises(ConfigError, match=r"size: found .*, allowed: one side for each .*'y', 'x'"):
        tokenizer_of(CASES[1][0], size)


def test_null_init_std_gives_tokens_the_spread_of_the_inputs():
    spec = InputSpec((3, 32, 32), ("y", "x"))
    config = PatchTokenizer.Config(size=(4, 4), init_std=None)
    tokenizer = PatchTokenizer(config, spec=spec, dim=256)
    inputs = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert tokenizer(inputs).data.std().item() == pytest.approx(1.0, rel=0.1)
