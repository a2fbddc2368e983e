"""Checks of mask samplers."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor

from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.testing.generators import untouched
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import shown

_SAMPLE = "jepa.core.MaskSampler.sample"
_BATCH, _STEPS = 6, 12
_TOTAL, _LONGEST = 24, 32


def _made(subject: Subject) -> MaskSampler:
    sampler: MaskSampler = subject.cls(subject.config, grid=subject.grid)
    return sampler


def _drawn(sampler: MaskSampler) -> list[tuple[int, Masks]]:
    """Masks of some steps, spread over training."""
    return [
        (step, sampler.sample(_BATCH, Rng(1, step, _BATCH, progress=step / _STEPS)))
        for step in range(_STEPS)
    ]


def _rows(masks: Masks) -> list[tuple[str, Tensor]]:
    """Every row of indices with its name."""
    rows = [(f"context of sample {b}", row) for b, row in enumerate(masks.context)]
    for b, blocks in enumerate(masks.targets):
        rows += [(f"target {m} of sample {b}", row) for m, row in enumerate(blocks)]
    return rows


def _same(one: Masks, other: Masks) -> bool:
    return all(map(torch.equal, one, other))


@promise(_SAMPLE, basic=True)
def shapes(subject: Subject) -> None:
    """Masks of context [B, K] and targets [B, M, T], tensors, for B samples."""
    for step, masks in _drawn(_made(subject)):
        expect(isinstance(masks, Masks), f"step {step} gave a {type(masks).__name__}")
        found = list(masks.context.shape), list(masks.targets.shape)
        text = f"step {step}: context {found[0]}, targets {found[1]} for {_BATCH} samples"
        expect(len(found[0]) == 2 and len(found[1]) == 3, text)
        expect(found[0][0] == found[1][0] == _BATCH, text)


@promise(_SAMPLE)
def dtypes(subject: Subject) -> None:
    """Context and targets are int64."""
    for step, masks in _drawn(_made(subject)):
        found = {masks.context.dtype, masks.targets.dtype}
        expect(found == {torch.int64}, f"step {step}: {', '.join(map(str, found))}")


@promise(_SAMPLE)
def non_empty(subject: Subject) -> None:
    """Every sample has context (K > 0) and targets (M, T > 0)."""
    for step, masks in _drawn(_made(subject)):
        found = f"step {step}: context {list(masks.context.shape)}, "
        expect(
            masks.context.numel() > 0 and masks.targets.numel() > 0,
            f"{found}targets {list(masks.targets.shape)}",
        )


@promise(_SAMPLE)
def bounds(subject: Subject) -> None:
    """Indices lie on the grid: 0 to N - 1."""
    size = subject.grid.size
    for step, masks in _drawn(_made(subject)):
        for name, row in _rows(masks):
            inside = bool(((row >= 0) & (row < size)).all())
            expect(inside, f"step {step}, {name}: {shown(row)}, N = {size}")


@promise(_SAMPLE)
def ascending(subject: Subject) -> None:
    """Indices ascend in a row, and none stands there twice."""
    for step, masks in _drawn(_made(subject)):
        for name, row in _rows(masks):
            expect(bool((row.diff() > 0).all()), f"step {step}, {name}: {shown(row)}")


@promise(_SAMPLE)
def disjoint(subject: Subject) -> None:
    """No token of a sample is context and target at once (disjoint=True)."""
    if not subject.setup.disjoint:
        return
    for step, masks in _drawn(_made(subject)):
        for sample, (context, targets) in enumerate(zip(*masks, strict=True)):
            both = sorted(set(context.tolist()) & set(targets.flatten().tolist()))
            expect(not both, f"step {step}, sample {sample}: {shown(both)} are both")


@promise(_SAMPLE)
def repeats(subject: Subject) -> None:
    """Masks are a function of (seed, step, view, place): the same numbers, the same masks."""
    sampler = _made(subject)
    for step in range(_STEPS):
        first, again = (sampler.sample(_BATCH, Rng(1, step, _BATCH)) for _ in range(2))
        expect(_same(first, again), f"seed 1, step {step}: two calls of one sampler differ")
        fresh = _made(subject).sample(_BATCH, Rng(1, step, _BATCH))
        expect(_same(first, fresh), f"seed 1, step {step}: two samplers differ")


@promise("jepa.core.MaskSampler.trim_group, jepa.core.Rng.window")
def windows(subject: Subject) -> None:
    """A share of a batch gets the rows that it has in the whole (of its `trim_group`)."""
    sampler = _made(subject)
    group = sampler.trim_group or _TOTAL
    total = 2 * group if group <= _LONGEST and sampler.trim_group else group
    for step in range(4):
        for start in range(0, total, group):
            whole = sampler.sample(group, Rng(6, step, group, start, total))
            for size in {max(group // 2, 1), 1} if group % 2 == 0 else {1}:
                places = range(start, start + group, size)
                parts = [sampler.sample(size, Rng(6, step, size, p, total)) for p in places]
                _expect_joined(whole, parts, f"step {step}, places {start} to {start + group - 1}")


def _expect_joined(whole: Masks, parts: list[Masks], where: str) -> None:
    size = len(parts[0].context)
    text = f"{where} drawn {size} at a time differ from the same drawn at once"
    for name, together, pieces in zip(
        ("context", "targets"), whole, zip(*parts, strict=True), strict=True
    ):
        lengths = sorted({tuple(piece.shape[1:]) for piece in pieces})
        same = lengths == [tuple(together.shape[1:])]
        expect(same, f"{text}: {name} of {list(together.shape[1:])}, and {lengths} in parts")
        expect(torch.equal(torch.cat(pieces), together), f"{text}: {name}")


@promise(_SAMPLE)
def on_meta(subject: Subject) -> None:
    """A sampler draws indices on the CPU where a model is sketched on the meta device."""
    plain = _made(subject).sample(_BATCH, Rng(1, 3, _BATCH))
    with torch.device("meta"):
        sketched = _made(subject).sample(_BATCH, Rng(1, 3, _BATCH))
    devices = {part.device.type for part in sketched}
    expect(devices == {"cpu"}, f"masks on {', '.join(devices)}")
    expect(_same(plain, sketched), "masks differ from those drawn outside")


@promise(_SAMPLE)
def pickles(subject: Subject) -> None:
    """A sampler pickles, and draws the same after."""
    sampler = _made(subject)
    copied = pickle.loads(pickle.dumps(sampler))
    drawn = [each.sample(_BATCH, Rng(1, 3, _BATCH)) for each in (sampler, copied)]
    expect(_same(*drawn), "the copy draws other masks")


@promise(_SAMPLE)
def generators(subject: Subject) -> None:
    """All randomness comes from `rng`."""
    untouched(lambda: _drawn(_made(subject)))


PROMISES: tuple[Promise, ...] = (
    shapes,
    dtypes,
    non_empty,
    bounds,
    ascending,
    disjoint,
    repeats,
    windows,
    on_meta,
    pickles,
    generators,
)
