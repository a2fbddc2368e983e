"""Masks per second of the samplers against a loop over samples.

    python benchmarks/masks.py --output benchmarks/results/masks

Each round times every sampler once, one after another, on one thread, so that what else the
machine does falls on all of them alike; the table gives medians over the rounds. A mask here is
one sample's context and all its targets.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import common
import numpy as np
import torch

from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.plugins.masks.multiblock import Multiblock
from jepa.plugins.masks.multiblock_official import MultiblockOfficial

GRIDS = (14, 16)
BATCH = 128
STEPS = 4
"""Batches that one timing of a fast sampler takes together."""

Draw = Callable[[int], object]


class PerSampleLoop:
    """The same draws as the field writes them: tensor by tensor, block by block, with retries."""

    def __init__(self, side: int, min_keep: int = 10) -> None:
        self.side = side
        self.min_keep = min_keep

    def size(self, scale: tuple[float, float], aspect: tuple[float, float]) -> tuple[int, int]:
        draw = torch.rand(1).item()
        area = int(self.side**2 * (scale[0] + draw * (scale[1] - scale[0])))
        ratio = aspect[0] + draw * (aspect[1] - aspect[0])
        height, width = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        return min(height, self.side - 1), min(width, self.side - 1)

    def block(
        self, size: tuple[int, int], allowed: list[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = size
        tries, dropped = 20, 0
        while True:
            top = int(torch.randint(0, self.side - height, (1,)))
            left = int(torch.randint(0, self.side - width, (1,)))
            mask = torch.zeros((self.side, self.side), dtype=torch.int32)
            mask[top : top + height, left : left + width] = 1
            for region in allowed[: max(len(allowed) - dropped, 0)]:
                mask *= region
            index = torch.nonzero(mask.flatten()).squeeze(1)
            if len(index) > self.min_keep:
                break
            tries -= 1
            if tries == 0:
                tries, dropped = 20, dropped + 1
        outside = torch.ones((self.side, self.side), dtype=torch.int32)
        outside[top : top + height, left : left + width] = 0
        return index, outside

    def __call__(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        torch.manual_seed(step)
        target_size = self.size((0.15, 0.2), (0.75, 1.5))
        context_size = self.size((0.85, 1.0), (1.0, 1.0))
        contexts, targets = [], []
        for _ in range(BATCH):
            drawn = [self.block(target_size, []) for _ in range(4)]
            targets.append(torch.stack([index for index, _ in drawn]))
            contexts.append(self.block(context_size, [outside for _, outside in drawn])[0])
        shortest = min(map(len, contexts))
        return torch.stack([context[:shortest] for context in contexts]), torch.stack(targets)


def samplers(side: int) -> dict[str, Draw]:
    """What is compared, by name; the loop comes first."""
    grid = Grid((side, side), ("y", "x"))
    ours = {
        "multiblock": Multiblock(Multiblock.Config(), grid=grid),
        "multiblock, trim side": Multiblock(Multiblock.Config(trim="side"), grid=grid),
        "multiblock, keep 48": Multiblock(Multiblock.Config(keep=48), grid=grid),
        "multiblock_official": MultiblockOfficial(MultiblockOfficial.Config(), grid=grid),
    }

    def draw(sampler: Multiblock | MultiblockOfficial) -> Draw:
        return lambda step: sampler.sample(BATCH, Rng(seed=0, step=step, batch_size=BATCH))

    return {"per-sample loop": PerSampleLoop(side)} | {k: draw(v) for k, v in ours.items()}


def time_one(draw: Draw, step: int, steps: int) -> float:
    """Seconds per batch."""
    start = time.perf_counter()
    for k in range(step, step + steps):
        draw(k)
    return (time.perf_counter() - start) / steps


def measure(side: int, rounds: int) -> dict[str, list[float]]:
    """Seconds per batch of each sampler, one value a round."""
    compared = samplers(side)
    for draw in compared.values():
        draw(0)
    seconds: dict[str, list[float]] = {name: [] for name in compared}
    for k in range(rounds):
        for name, draw in compared.items():
            seconds[name].append(time_one(draw, k, 1 if name == "per-sample loop" else STEPS))
    return seconds


def summary(grid: str, seconds: dict[str, list[float]]) -> list[dict[str, object]]:
    """One row a sampler; `times` is the median over rounds of loop time / own time."""
    loop = seconds["per-sample loop"]
    return [
        {
            "grid": grid,
            "sampler": name,
            "ms_per_batch": round(1e3 * statistics.median(own), 3),
            "masks_per_s": round(BATCH / statistics.median(own)),
            "times": round(statistics.median(a / b for a, b in zip(loop, own, strict=True)), 1),
        }
        for name, own in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--output", type=Path, help="OUTPUT.json and OUTPUT.md are written")
    args = parser.parse_args()
    torch.set_num_threads(1)

    measured = [(f"{side} x {side}", measure(side, args.rounds)) for side in GRIDS]
    rows = [row for grid, seconds in measured for row in summary(grid, seconds)]
    head = ["grid", "sampler", "ms per batch", "masks/s", "times the loop"]
    results = {
        "batch": BATCH,
        "threads": 1,
        "rounds": args.rounds,
        "numpy": np.__version__,
        "rows": rows,
    }
    common.report(
        "masks", head, [[str(v) for v in row.values()] for row in rows], results, args.output
    )


if __name__ == "__main__":
    main()
