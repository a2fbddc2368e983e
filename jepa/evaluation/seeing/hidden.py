"""Hidden blocks: where they lie, and what the model predicts for them.

Here one block is hidden and all the rest is context, which is more than a step of training shows.

Letters besides those of `jepa.core.tokens`: h target blocks over the grid.
"""

from __future__ import annotations

from itertools import product

import torch
from einops import rearrange, repeat
from torch import Tensor

from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.model import JEPA
from jepa.core.rng import Rng, SampleRng, Stream
from jepa.core.tokens import Masks, Tokens
from jepa.evaluation.seeing.subject import BATCH, SheetError, Subject

_VIEW = 0
"""Blocks are as in the first view of a step, and predicted as its targets are."""


def block_sides(sampler: MaskSampler, grid: Grid, seed: int) -> tuple[int, ...]:
    """Sides of a block as large as those that the sampler hides.

    As at the end of training. The sampler's own sides where its blocks are boxes; else, in
    proportion to the grid's.

    Raises:
        SheetError: so large a block leaves no context.
    """
    target = sampler.sample(1, Rng(seed, 0, 1, progress=1.0)).targets[0, 0]  # [T]
    places = grid.coords()[target]
    sides = tuple((places.amax(0) - places.amin(0) + 1).tolist())
    if torch.tensor(sides).prod() != len(target):
        scale = (len(target) / grid.size) ** (1 / grid.ndim)
        sides = tuple(max(1, round(side * scale)) for side in grid.shape)
    if sides == grid.shape:
        text = " x ".join(map(str, sides))
        raise SheetError(f"a hidden block of {text} tokens leaves nothing of the grid {grid}")
    return sides


def tiles(grid: Grid, sides: tuple[int, ...]) -> Tensor:
    """Blocks that together cover the grid, each half over the next: [h, T] int64, ascending rows.

    Every token lies in one block at least; on small grids blocks lie at every place.
    """
    index = torch.arange(grid.size).reshape(grid.shape)
    starts = []
    for side, length in zip(sides, grid.shape, strict=True):
        last = length - side
        starts.append(sorted({*range(0, last, max(1, side // 2)), last}))
    blocks = []
    for corner in product(*starts):
        window = tuple(
            slice(start, start + side) for start, side in zip(corner, sides, strict=True)
        )
        blocks.append(index[window].flatten())
    return torch.stack(blocks)


def inner_blocks(grid: Grid, sides: tuple[int, ...], count: int, seed: int) -> Tensor:
    """Blocks at random places in the middle of the grid, where content lies: [count, T] int64.

    Corners are uniform over the middle half of all corners (at least two, where there are two).
    """
    index = torch.arange(grid.size).reshape(grid.shape)
    uniforms = SampleRng(seed, 0, count, Stream.EVALUATION).uniforms(count * grid.ndim)
    blocks = []
    for row in uniforms.reshape(count, grid.ndim):
        window = []
        for uniform, side, length in zip(row, sides, grid.shape, strict=True):
            corners = length - side + 1
            inner = max(min(2, corners), (corners + 1) // 2)
            start = (corners - inner) // 2 + int(uniform * inner)
            window.append(slice(start, start + side))
        blocks.append(index[tuple(window)].flatten())
    return torch.stack(blocks)


def complement(hidden: Tensor, size: int) -> Tensor:
    """All places that are not hidden: [B, T] -> [B, size - T] int64, ascending."""
    rows = len(hidden)
    seen = torch.ones(rows, size, dtype=torch.bool, device=hidden.device)
    places = seen.scatter(1, hidden, False).nonzero()[:, 1]
    return rearrange(places, "(B K) -> B K", B=rows)


def predict(model: JEPA, prepared: Tensor, hidden: Tensor) -> Tensor:
    """What the model predicts for one hidden block a sample, from all the rest of it.

    Args:
        model: in evaluation mode.
        prepared: inputs [B, *S], as `Modality.device_transform` gives them.
        hidden: places of the block, [B, T] int64, ascending.

    Returns:
        [B, T, D_target], in the space of `Objective.normalise`.
    """
    tokens = model.backbone.tokens(prepared)  # [B, N, D]
    context = complement(hidden, tokens.data.shape[1])  # [B, K]
    seen = tokens.take(context)
    encoded = Tokens(model.backbone.encoder(seen), seen.coords)
    masks = Masks(context, rearrange(hidden, "B T -> B 1 T"))
    predicted: Tensor = model.predict(encoded, tokens, masks, _VIEW)
    return rearrange(predicted, "B 1 T D -> B T D")


def targets(model: JEPA, prepared: Tensor) -> Tensor:
    """Targets of every token, before `Objective.normalise`: prepared [B, *S] -> [B, N, D_target].

    Targets without a network have them too.
    """
    grid = model.backbone.tokenizer.grid_for(prepared.shape[1:])
    every = repeat(torch.arange(grid.size, device=prepared.device), "N -> B N", B=len(prepared))
    found: Tensor
    (found,) = model.target(prepared, (Masks(every, rearrange(every, "B N -> B 1 N")),))
    return rearrange(found, "B 1 N D -> B N D")


def normalised_targets(subject: Subject) -> tuple[Tensor, Tensor]:
    """Targets of every token in the space that the model predicts in.

    Both are normalised together: an objective may do so over the batch, and a few inputs are too
    few for that.

    Returns:
        (of the inputs shown [B, N, D_target], of the bank [n, N, D_target]), float32 on the CPU.
    """
    loaded = torch.cat([subject.shown.loaded, subject.bank.loaded])
    with torch.inference_mode():
        parts = [
            targets(subject.model, subject.prepared(part)) for part in torch.split(loaded, BATCH)
        ]
        raw = torch.cat([part.float().cpu() for part in parts])
        everything = subject.model.objective.normalise(rearrange(raw, "B N D -> B 1 N D"))
    everything = rearrange(everything, "B 1 N D -> B N D")
    shown = len(subject.shown)
    return everything[:shown], everything[shown:]


def predictions(subject: Subject, loaded: Tensor, hidden: Tensor) -> Tensor:
    """`predict` for inputs as loaded, in batches: [B, *S], [B, T] -> [B, T, D], on the CPU."""
    found = []
    with torch.inference_mode():
        for part, places in zip(
            torch.split(loaded, BATCH), torch.split(hidden, BATCH), strict=True
        ):
            prepared = subject.prepared(part)
            predicted = predict(subject.model, prepared, places.to(subject.device))
            found.append(predicted.float().cpu())
    return torch.cat(found)
