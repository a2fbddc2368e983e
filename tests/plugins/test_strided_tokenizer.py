"""The tokenizer of strided convolutions: the grid, what a token reads, and what it refuses."""

import pytest
import torch

from jepa.core.errors import ConfigError, JepaError
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.settings import structure
from jepa.plugins.tokenizers.strided import StridedTokenizer

SMALL = StridedTokenizer.Config(kernels=(4, 3), strides=(3, 2), width=8)


def tokenizer_of(config=SMALL, samples=60, dim=6, channels=1):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return StridedTokenizer(config, spec=InputSpec((channels, samples), ("t",)), dim=dim)


def inputs_of(samples=60, batch=2, channels=1):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, channels, samples, generator=generator)


def test_the_defaults_give_exactly_200_tokens_for_2_01_s_at_16_khz():
    config = StridedTokenizer.Config(width=4)
    tokenizer = tokenizer_of(config, 32160)
    assert tokenizer.grid == Grid((200,), ("t",))
    assert (tokenizer.receptive_field, tokenizer.hop, tokenizer.overlap) == (240, 160, 0.5)
    assert tokenizer(inputs_of(32160)).data.shape == (2, 200, 6)
    assert tokenizer.grid_for([1, 32159]) == Grid((200,), ("t",))
    assert tokenizer.grid_for([1, 240]) == Grid((1,), ("t",))


@pytest.mark.parametrize(
    ("kernels", "strides"),
    [((4, 3), (3, 2)), ((5,), (5,)), ((10, 3, 3), (5, 2, 2)), ((3, 3), (1, 3))],
)
@pytest.mark.parametrize("samples", [60, 61, 77])
def test_a_token_reads_what_it_says_and_nothing_else(kernels, strides, samples):
    config = StridedTokenizer.Config(kernels=kernels, strides=strides, width=8)
    tokenizer = tokenizer_of(config, samples)
    inputs = inputs_of(samples, 1).requires_grad_()
    tokens = tokenizer(inputs)
    assert tokens.data.shape == (1, tokenizer.grid.size, 6)
    assert torch.equal(tokens.coords[0], tokenizer.grid.coords())
    for token in range(tokenizer.grid.size):
        (grad,) = torch.autograd.grad(tokens.data[0, token, 0], inputs, retain_graph=True)
        first = token * tokenizer.hop
        wanted = list(range(first, first + tokenizer.receptive_field))
        assert grad[0, 0].nonzero().flatten().tolist() == wanted


def test_tokens_start_with_a_spread_that_learns():
    tokenizer = tokenizer_of(StridedTokenizer.Config(width=256), 3200, dim=128)
    assert 0.2 < tokenizer(inputs_of(3200)).data.std().item() < 2
    drowned = tokenizer_of(StridedTokenizer.Config(width=256, init_std=0.001), 3200, dim=128)
    assert drowned(inputs_of(3200)).data.std().item() < 0.05


def test_inputs_of_another_length_have_their_own_grid():
    tokenizer = tokenizer_of()
    tokens = tokenizer(inputs_of(100))
    assert tokens.data.shape[1] == tokenizer.grid_for([1, 100]).size == 16
    assert torch.equal(tokens.coords[1], tokenizer.grid_for([1, 100]).coords())


def test_raw_is_refused():
    with pytest.raises(JepaError, match=r"'strided' overlap \(each reads 10 samples, and the next"):
        tokenizer_of().raw(inputs_of())


def test_what_it_cannot_cut_is_refused():
    with pytest.raises(ConfigError, match=r"inputs over the axes \['t', 'f'\], allowed: one axis"):
        StridedTokenizer(SMALL, spec=InputSpec((1, 40, 40), ("t", "f")), dim=4)
    with pytest.raises(ConfigError, match=r"found an input of \[9\] samples.*at least 10"):
        tokenizer_of(samples=9)
    with pytest.raises(ConfigError, match=r"found an input of \[4, 9\] samples"):
        tokenizer_of().grid_for([1, 4, 9])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kernels": [3, 3]}, "strides: found 6, allowed: one for each of the 2 kernels"),
        ({"kernels": [3], "strides": [4]}, r"strides: found \[4\], allowed: at most the kernels"),
        ({"kernels": [], "strides": []}, "kernels: found .*one or more"),
        ({"width": 0}, "width: found 0, allowed: above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        structure(settings, StridedTokenizer.Config)
