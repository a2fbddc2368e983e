"""Speed of the training step against a step written as the field writes it.

    python benchmarks/step.py --output benchmarks/results/step

Each side runs in a process of its own, as `jepa train` would set it up, and the two take turns in
one run, round by round, so that a machine whose speed drifts drifts for both. Samples/s are
medians over rounds, ratios are taken round by round. MFU: model FLOPs (benchmarks count the
target's forward pass once and the rest three times) over the peak of large matrix products in the
same precision, measured (CPU) or stated by the maker (known GPUs).
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs
import common
import torch

from jepa.core.config import RunConfig, layer
from jepa.core.settings import structure


@attrs.frozen
class Case:
    """One shape of model and batch."""

    name: str
    side: int
    patch: int
    preset: str
    predictor: tuple[int, int, int]
    batch: int
    gpu_only: bool = False


CASES = (
    Case("ViT-Tiny/8 at 96", 96, 8, "tiny", (192, 6, 6), 32),
    Case("ViT-Small/16 at 224", 224, 16, "small", (384, 6, 6), 16),
    Case("ViT-Small/16 at 224, B 256", 224, 16, "small", (384, 6, 6), 256, gpu_only=True),
    Case("ViT-H/14 at 224", 224, 14, "huge", (384, 12, 16), 128, gpu_only=True),
)


def run_config(case: Case, precision: str, compiled: bool) -> RunConfig:
    width, depth, heads = case.predictor
    raw = {
        "modality": {"name": "image", "size": [case.side, case.side]},
        "data": {"source": {"name": "fashion_mnist"}},
        "model": {
            "tokenizer": {"name": "patch", "size": [case.patch, case.patch]},
            "encoder": {"name": "vit", "preset": case.preset},
            "predictor": {"name": "vit", "dim": width, "depth": depth, "heads": heads},
        },
        "masks": [{"name": "multiblock"}],
        "train": {
            "global_batch": case.batch,
            "max_steps": 10**6,
            "precision": precision,
            "compile": compiled,
        },
        "observers": [],
    }
    return structure(layer(raw), RunConfig)


def work_on(side: str, case: Case, precision: str, link: Connection) -> None:
    """In a process of its own: answer each number of steps with the seconds that they took."""
    import tempfile

    from jepa.core.build import build
    from jepa.core.interfaces import MaskSampler
    from jepa.core.training import cost, distributed
    from jepa.core.training.feed import Micro, Work
    from jepa.core.training.host import tune_host
    from jepa.core.training.plan import Plan
    from jepa.core.training.precision import resolve

    config = run_config(case, precision, side == "compiled")
    world = distributed.start("auto")
    device = world.device
    built = build(config)
    plan = Plan(config, 0, 1, 10**6)
    samplers: tuple[MaskSampler, ...] = built.samplers
    ours = side != "reference"
    rows = case.batch * built.grid.size
    numbers = resolve(config.train.precision, device, dim=built.model.backbone.dim, rows=rows)
    if ours:
        from jepa.core.data.opening import open_source
        from jepa.core.training.trainer import Trainer

        tune_host(device, False)
        folder = Path(tempfile.mkdtemp())
        source = open_source(config.data, built.modality)
        trainer = Trainer(config, built, source, plan, world, folder, numbers, None, None)

        def step(number: int, images: torch.Tensor, views: Any) -> None:
            trainer._train_step(Work(number, (Micro(images, views),), ()))
    else:
        from reference_step import ReferenceStep

        from jepa.plugins.encoders.vit import PRESETS

        preset = PRESETS[case.preset]
        reference = ReferenceStep(
            side=case.side,
            patch=case.patch,
            dim=preset.dim,
            depth=preset.depth,
            heads=preset.heads,
            predictor=case.predictor,
            device=device,
            bf16=numbers == "bf16",
        )
        prepare = built.modality.device_transform().to(device)

        def step(number: int, images: torch.Tensor, views: Any) -> None:
            reference(prepare(images), views[0])

    generator = torch.Generator().manual_seed(0)
    shape = (case.batch, 3, case.side, case.side)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator).to(device)
    flops = cost.count(config).flops_per_sample
    link.send(
        {"flops": flops, "precision": numbers, "peak": cost.peak_flops(device, numbers == "bf16")}
    )
    number = 0
    while (steps := link.recv()) > 0:
        views = [plan.masks(samplers, number + i, 0) for i in range(steps)]
        moved = [tuple(type(v)(*(p.to(device) for p in v)) for v in vs) for vs in views]
        _wait(device)
        began = time.perf_counter()
        for masks in moved:
            step(number, images, masks)
            number += 1
        _wait(device)
        took = time.perf_counter() - began
        if device.type == "cuda":
            # All sides live on one GPU, and none may keep what the next one needs.
            torch.cuda.empty_cache()
        link.send(took)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def measure(case: Case, sides: dict[str, tuple[str, str]], rounds: int, seconds: float) -> dict:
    """Samples/s of each side, in turns. `sides`: name -> (side, precision)."""
    context = multiprocessing.get_context("spawn")
    links, processes, facts = {}, [], {}
    for name, (side, precision) in sides.items():
        here, there = context.Pipe()
        process = context.Process(target=work_on, args=(side, case, precision, there), daemon=True)
        process.start()
        links[name] = here
        processes.append(process)
        facts[name] = here.recv()
    steps = {}
    for name, link in links.items():
        for warm in (2, 3):
            link.send(warm)
            took = link.recv()
        steps[name] = max(1, round(seconds * 3 / took))
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, link in links.items():
            link.send(steps[name])
            rates[name].append(steps[name] * case.batch / link.recv())
    for link in links.values():
        link.send(0)
    for process in processes:
        process.join()
    found = {}
    for name in sides:
        rate = statistics.median(rates[name])
        found[name] = {
            "samples_per_s": rate,
            "precision": facts[name]["precision"],
            "mfu": rate * facts[name]["flops"] / facts[name]["peak"],
            "gflops_per_sample": facts[name]["flops"] / 1e9,
            "rounds": rates[name],
        }
    return found


def ratio(found: dict, a: str, b: str) -> float:
    pairs = zip(found[a]["rounds"], found[b]["rounds"], strict=True)
    return statistics.median(x / y for x, y in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a round of one side")
    parser.add_argument("--case", action="append", help="only cases whose name holds this")
    parser.add_argument("--compile", action="store_true", help="measure train.compile=true too")
    args = parser.parse_args()
    gpu = torch.cuda.is_available()
    rows, results = [], {}
    for case in CASES:
        if (case.gpu_only and not gpu) or (
            args.case and not any(part in case.name for part in args.case)
        ):
            continue
        sides = {
            "reference fp32": ("reference", "fp32"),
            "ours fp32": ("ours", "fp32"),
            "reference bf16": ("reference", "bf16"),
            "ours bf16": ("ours", "bf16"),
            "ours auto": ("ours", "auto"),
        }
        if args.compile:
            sides["ours compiled"] = ("compiled", "auto")
        found = measure(case, sides, args.rounds, args.seconds)
        results[case.name] = found
        for name, side in found.items():
            same = "reference bf16" if side["precision"] == "bf16" else "reference fp32"
            rows.append(
                [
                    case.name,
                    name + (f" ({side['precision']})" if "auto" in name else ""),
                    f"{side['samples_per_s']:.1f}",
                    f"{side['mfu']:.0%}",
                    f"{ratio(found, name, same):.2f}x",
                    f"{ratio(found, name, 'reference fp32'):.2f}x",
                ]
            )
            print(*rows[-1], sep="  ", flush=True)
    head = [
        "case",
        "step",
        "samples/s",
        "MFU",
        "against reference, same precision",
        "against its fp32",
    ]
    common.report("step", head, rows, results, args.output)


if __name__ == "__main__":
    main()
