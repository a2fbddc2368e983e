"""Checks of tokenizers."""

from __future__ import annotations

import torch
from torch import Tensor

from jepa.core.errors import ConfigError, JepaError
from jepa.core.interfaces import Tokenizer
from jepa.core.tokens import Tokens
from jepa.testing.modules import Trial, module_promises, same
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import normals

_FORWARD = "jepa.core.Tokenizer.forward"
_BATCH = 4


def _made(subject: Subject) -> Tokenizer:
    made: Tokenizer = subject.cls(subject.config, spec=subject.spec, dim=subject.setup.dim)
    return made.eval()


def _inputs(subject: Subject, batch: int = _BATCH) -> Tensor:
    return normals(batch, *subject.spec.shape)


@promise(_FORWARD, basic=True)
def shapes(subject: Subject) -> None:
    """Inputs [B, *S] become Tokens of data [B, N, D] float32 and coords [B, N, A] int64."""
    tokenizer = _made(subject)
    found = tokenizer(_inputs(subject))
    expect(isinstance(found, Tokens), f"a {type(found).__name__}")
    size, axes = tokenizer.grid.size, tokenizer.grid.ndim
    wanted = [_BATCH, size, subject.setup.dim], [_BATCH, size, axes]
    shaped = list(found.data.shape), list(found.coords.shape)
    expect(shaped == wanted, f"data {shaped[0]}, coords {shaped[1]} for {wanted[0]}, {wanted[1]}")
    types = found.data.dtype, found.coords.dtype
    expect(types == (torch.float32, torch.int64), f"{types[0]}, {types[1]}")


@promise(_FORWARD)
def places(subject: Subject) -> None:
    """Token i stands at place i of the grid in C order, which is what masks index."""
    tokenizer = _made(subject)
    found = tokenizer(_inputs(subject)).coords
    expected = tokenizer.grid.coords()
    wrong = (found != expected).any(dim=2).nonzero()
    if len(wrong):
        sample, token = wrong[0].tolist()
        at = f"sample {sample}, token {token} at {found[sample, token].tolist()}"
        expect(False, f"{at} for {expected[token].tolist()}")


@promise("jepa.core.Tokenizer.grid_for")
def grids(subject: Subject) -> None:
    """`grid_for` gives the grid that the tokenizer was built for, from the shape of one input."""
    tokenizer = _made(subject)
    found = tokenizer.grid_for(subject.spec.shape)
    expect(found == tokenizer.grid, f"{found}, and `grid` is {tokenizer.grid}")


@promise("jepa.core.Tokenizer.grid_for")
def refuses_other_axes(subject: Subject) -> None:
    """`grid_for` refuses by ConfigError what cannot be cut, such as an input of one more axis."""
    tokenizer = _made(subject)
    shape = (*subject.spec.shape, 8)
    try:
        found = tokenizer.grid_for(shape)
    except ConfigError:
        return
    expect(False, f"{list(shape)} gave the grid {found}")


@promise("jepa.core.Tokenizer.raw")
def raw_content(subject: Subject) -> None:
    """`raw` gives [B, N, P], or refuses by a JepaError where tokens overlap."""
    tokenizer = _made(subject)
    try:
        found = tokenizer.raw(_inputs(subject))
    except JepaError:
        return
    shape = list(found.shape)
    expect(len(shape) == 3 and shape[:2] == [_BATCH, tokenizer.grid.size], f"{shape}")
    expect(bool(found.isfinite().all()), "values that are not finite")


@promise(_FORWARD)
def samples_apart(subject: Subject) -> None:
    """The tokens of a sample depend on that sample alone (in evaluation mode)."""
    tokenizer, inputs = _made(subject), _inputs(subject)
    expect(
        same(tokenizer(inputs)[0][1:2], tokenizer(inputs[1:2])[0]),
        "another batch around a sample changes its tokens",
    )


def _trial(subject: Subject) -> Trial:
    return Trial(_made(subject), (_inputs(subject),))


PROMISES: tuple[Promise, ...] = (
    shapes,
    places,
    grids,
    refuses_other_axes,
    raw_content,
    samples_apart,
    *module_promises(_trial, _FORWARD),
)
