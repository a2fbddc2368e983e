"""Checks of encoders. Letters: n tokens that are seen, of N on the grid."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa.core.build import seeded
from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.interfaces import Attentive, Encoder
from jepa.core.tokens import Tokens
from jepa.testing.modules import Trial, distance, module_promises, same
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import normals, shuffled, subsets

_FORWARD = "jepa.core.Encoder.forward"
_BATCH = 4
_CLOSE = 1e-4


def _made(subject: Subject) -> Encoder:
    with seeded(0):
        made: Encoder = subject.cls(subject.config, grid=subject.grid, dim=subject.setup.dim)
    return made.eval()


def _whole(subject: Subject, grid: Grid | None = None) -> Tokens:
    """All tokens of a batch."""
    grid = grid or subject.grid
    coords = grid.coords().expand(_BATCH, -1, -1)
    return Tokens(normals(_BATCH, grid.size, subject.setup.dim), coords)


def _some(subject: Subject) -> Tokens:
    """Half of the tokens, others for each sample."""
    size = subject.grid.size
    return _whole(subject).take(subsets(_BATCH, size, (size + 1) // 2))


@promise(_FORWARD, basic=True)
def shapes(subject: Subject) -> None:
    """Any subset of tokens: data [B, n, D] float32 and coords [B, n, A] become [B, n, D]."""
    encoder = _made(subject)
    for tokens in (_whole(subject), _some(subject), Tokens(*(t[:, :1] for t in _whole(subject)))):
        found = encoder(tokens)
        expect(isinstance(found, Tensor), f"a {type(found).__name__}")
        wanted = list(tokens.data.shape)
        expect(list(found.shape) == wanted, f"{list(found.shape)} for tokens {wanted}")
        expect(found.dtype == torch.float32, f"{found.dtype}")


@promise(_FORWARD)
def order_of_tokens(subject: Subject) -> None:
    """Tokens given in another order come out in that order, and are the same."""
    encoder, tokens = _made(subject), _some(subject)
    order = shuffled(tokens.data.shape[1], seed=1)
    expected = encoder(tokens)[:, order]
    found = encoder(Tokens(*(part[:, order] for part in tokens)))
    error = distance(found, expected)
    expect(error <= _CLOSE, f"they differ by {error:.1e}")


@promise(_FORWARD)
def places_of_tokens(subject: Subject) -> None:
    """The place of a token counts: the same data at other coordinates give something else."""
    encoder, tokens = _made(subject), _some(subject)
    moved = Tokens(tokens.data, tokens.coords.flip(1))
    error = distance(encoder(moved), encoder(tokens))
    expect(error > _CLOSE, f"outputs differ by {error:.1e} after tokens changed places")


@promise(_FORWARD)
def samples_apart(subject: Subject) -> None:
    """The output of a sample depends on that sample alone (in evaluation mode)."""
    encoder, tokens = _made(subject), _some(subject)
    found = encoder(Tokens(*(part[1:2] for part in tokens)))
    error = distance(found, encoder(tokens)[1:2])
    expect(error <= _CLOSE, f"another batch around a sample changes its output by {error:.1e}")


@promise("jepa.core.Encoder.layers")
def layers(subject: Subject) -> None:
    """`layers` gives outputs [B, n, D] of chosen blocks in their order; the last is forward's."""
    encoder, tokens = _made(subject), _some(subject)
    depth = encoder.depth
    expect(isinstance(depth, int) and depth > 0, f"depth is {depth!r}")
    every = encoder.layers(tokens, range(depth))
    expect(len(every) == depth, f"{len(every)} outputs for {depth} blocks")
    wanted = list(tokens.data.shape)
    found = [list(output.shape) for output in every]
    expect(found == [wanted] * depth, f"shapes {found} for {wanted}")
    (last,) = encoder.layers(tokens, [-1])
    expect(same(last, encoder(tokens)), "layers(tokens, [-1]) is not forward(tokens)")
    expect(same(every[-1], last), f"block {depth - 1} of {depth} is not block -1")
    backwards = encoder.layers(tokens, range(-1, -depth - 1, -1))
    pairs = zip(reversed(backwards), every, strict=True)
    expect(all(same(a, b) for a, b in pairs), "outputs do not come in the order of `indices`")


@promise("jepa.core.Encoder.regrid")
def regrids(subject: Subject) -> None:
    """After `regrid` a larger grid works, and after another the first gives what it gave."""
    encoder, tokens = _made(subject), _whole(subject)
    before = encoder(tokens)
    larger = Grid(tuple(side + 2 for side in subject.grid.shape), subject.grid.axes)
    encoder.regrid(larger)
    wide = _whole(subject, larger)
    found = encoder(wide)
    expect(found.shape == wide.data.shape, f"{list(found.shape)} on {larger}")
    expect(bool(found.isfinite().all()), f"outputs on {larger} are not finite")
    encoder.regrid(subject.grid)
    error = distance(encoder(tokens), before)
    expect(error <= _CLOSE, f"back on the first grid, outputs differ by {error:.1e}")


@promise("jepa.core.Attentive.attention")
def attention(subject: Subject) -> None:
    """An Attentive encoder shows weights [B, H, n, n], rows sum to 1; other blocks are refused."""
    encoder, tokens = _made(subject), _some(subject)
    if not isinstance(encoder, Attentive):
        return
    n = tokens.data.shape[1]
    for block in (0, -1):
        found = encoder.attention(tokens, block)
        shape = list(found.shape)
        expect(len(shape) == 4 and [shape[0], *shape[2:]] == [_BATCH, n, n], f"{shape}")
        error = distance(found.sum(dim=-1), torch.ones(shape[:3]))
        expect(error <= _CLOSE, f"rows of block {block} miss 1 by {error:.1e}")
    try:
        encoder.attention(tokens, encoder.depth)
    except ConfigError:
        return
    expect(False, f"block {encoder.depth} of {encoder.depth} is not refused by ConfigError")


@promise("jepa.core.Encoder.width")
def width(subject: Subject) -> None:
    """`width` gives the width that the settings imply, or None."""
    found = subject.cls.width(subject.config)
    expect(found is None or (type(found) is int and found > 0), f"{found!r}")


def _trial(subject: Subject) -> Trial:
    return Trial(_made(subject), (_some(subject),))


PROMISES: tuple[Promise, ...] = (
    shapes,
    order_of_tokens,
    places_of_tokens,
    samples_apart,
    layers,
    regrids,
    attention,
    width,
    *module_promises(_trial, _FORWARD, compiled=True),
)
