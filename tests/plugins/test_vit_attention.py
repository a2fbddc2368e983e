"""The attention that the ViT shows is the one that it computes with."""

import pytest
import torch
from einops import rearrange

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import Attentive
from jepa.core.tokens import Tokens
from jepa.plugins.encoders.vit import ViTEncoder

GRID = Grid((3, 4), ("y", "x"))
DIM, HEADS = 24, 3


@pytest.fixture(scope="module")
def encoder():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = ViTEncoder.Config(depth=3, heads=HEADS, init_std=0.3)
        return ViTEncoder(config, grid=GRID, dim=DIM).double().eval()


@pytest.fixture(scope="module")
def tokens():
    data = torch.randn(2, 7, DIM, generator=torch.Generator().manual_seed(1)).double()
    return Tokens(data, GRID.coords()[[0, 1, 3, 4, 8, 9, 11]].expand(2, -1, -1))


def entering(encoder, tokens, index):
    """What enters a block: [B, n, D]."""
    if index == 0:
        return tokens.data + encoder.positions(tokens.coords)
    return encoder.layers(tokens, [index - 1])[0]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_it_is_the_softmax_of_queries_and_keys(encoder, tokens, index):
    assert isinstance(encoder, Attentive)
    found = encoder.attention(tokens, index)
    assert found.shape == (2, HEADS, 7, 7)
    torch.testing.assert_close(found.sum(-1), torch.ones(2, HEADS, 7).double())
    block = encoder.blocks[index]
    x = block.norm1(entering(encoder, tokens, index))
    weight, bias = block.attn.qkv.weight, block.attn.qkv.bias
    q, k = (x @ weight[s].T + bias[s] for s in (slice(0, DIM), slice(DIM, 2 * DIM)))
    width = DIM // HEADS
    for head in range(HEADS):
        part = slice(head * width, (head + 1) * width)
        scores = torch.einsum("bid,bjd->bij", q[..., part], k[..., part]) / width**0.5
        torch.testing.assert_close(found[:, head], scores.exp() / scores.exp().sum(-1, True))


def test_values_weighted_by_it_give_the_output(encoder, tokens):
    block = encoder.blocks[2]
    x = entering(encoder, tokens, 2)
    v = rearrange(block.attn.qkv(block.norm1(x))[..., 2 * DIM :], "b n (h d) -> b h n d", h=HEADS)
    mixed = rearrange(encoder.attention(tokens, 2) @ v, "b h n d -> b n (h d)")
    x = x + block.attn.proj(mixed)
    out = encoder.norm(x + block.mlp(block.norm2(x)))
    torch.testing.assert_close(out, encoder(tokens))


def test_blocks_count_from_the_end_too(encoder, tokens):
    assert torch.equal(encoder.attention(tokens, -1), encoder.attention(tokens, 2))
    with pytest.raises(ConfigError, match=r"found \[3\], allowed: -3 to 2"):
        encoder.attention(tokens, 3)
