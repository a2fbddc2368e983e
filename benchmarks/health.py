"""Traces of real runs, healthy ones and ones pushed over the edge, for the rules of the verdict.

    python benchmarks/health.py record --output tests/core/health/traces --seeds 5

trains every recipe on every seed (one to three minutes each) and writes a file a run: what the
observers `health` and `jsonl` saw, and what was measured at the start and at the end with other
code, on other samples: RankMe of tokens, their spread, k-NN. The label comes from these alone.
Files that stand are kept, so a stopped recording goes on.

    python benchmarks/health.py table --traces tests/core/health/traces
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import common
import numpy as np
import torch
from einops import rearrange

from jepa.core import registry
from jepa.core.build import make_backbone
from jepa.core.config import RunConfig, load_run
from jepa.core.data.loading import evaluation_batches
from jepa.core.data.opening import open_source
from jepa.core.errors import TrainingError
from jepa.core.health.trace import HEALTH
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.neighbours import votes
from jepa.core.statistics import normalized_std, rank_me, spread_rows
from jepa.core.training import session
from jepa.core.training.distributed import start
from jepa.evaluation.loading import load_backbone

SMALL = (
    "model.dim=64",
    "model.encoder.depth=3",
    "model.encoder.heads=2",
    "model.predictor.depth=2",
    "model.predictor.dim=48",
    "train.epochs=2",
    "train.device=cpu",
    "data.workers=0",
    "checkpoint.every=10000",
    "observers=[jsonl, {name: health, every: 20, probe: {every: 100}}]",
)
"""Over `image/quickstart`: 500 steps, less than a minute."""

LONG = ("train.epochs=5", "observers=[jsonl, {name: health, every: 50, probe: {every: 250}}]")
"""Over `SMALL`, for what takes time: learning."""
LAYER = "model.objective.normalise=layer"
"""The paper's targets. Those normalised by batch, the quickstart's, hold the variance up."""
DROWNED = "model.tokenizer.init_std=0.02"
"""Tokens that begin as little more than their position, as the paper's do at this size. So the
first targets are soon predicted, and get harder as content comes in: the loss falls and rises."""
RECIPES: dict[str, tuple[str, ...]] = {
    "healthy": LONG,
    "loss_rises": (*LONG, DROWNED, LAYER, "model.target={name: ema, start: 0.99}"),
    "online_identity": ("model.target=online", "model.predictor={name: identity}", LAYER),
    "low_momentum": ("model.target={name: ema, start: 0.0, end: 0.0}", LAYER),
    "lr_x100": ("optim.lr=0.1",),
}
"""Over `SMALL`."""
KEPT = ("train/loss", "train/grad_norm", "train/bad_steps_in_a_row", "schedule/lr")


def register() -> None:
    """Install `identity` as a package of its own would: by an entry point on the path."""
    site = Path(tempfile.mkdtemp(prefix="jepa-health-"))
    info = site / "health_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: health-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[jepa.predictors]\nidentity = health_parts:Identity\n")
    sys.path[:0] = [str(site), str(Path(__file__).parent)]
    registry.plugins.cache_clear()


# --- what a run is labelled by -------------------------------------------------------------------


def measure(backbone: Backbone, config: RunConfig, modality: Modality) -> dict[str, float]:
    """Rank, spread and k-NN of a frozen backbone: 1000 training and 500 test samples."""
    tokens, pooled, labels = {}, {}, {}
    for split, limit in (("train", 1000), ("test", 500)):
        source = open_source(config.data, modality, split)
        chosen = np.arange(limit) * len(source) // limit
        batches = list(evaluation_batches(source, modality, 100, 0, chosen))
        prepare = modality.device_transform()
        with torch.inference_mode():
            found = torch.cat([backbone.eval()(prepare(batch.inputs)) for batch in batches])
        tokens[split], pooled[split] = found, found.mean(dim=1)
        labels[split] = torch.cat([batch.labels for batch in batches if batch.labels is not None])
    rows = spread_rows(rearrange(tokens["test"], "b n d -> (b n) d"), 4096)
    said = votes(pooled["train"], labels["train"], pooled["test"], 20, 0.07).argmax(1)
    return {
        "rank": float(rank_me(rows)),
        "std": float(normalized_std(rows)),
        "knn": float((said == labels["test"]).double().mean()),
    }


def label(outcome: str, first: dict[str, float], last: dict[str, float]) -> str:
    """What a run turned out to be, by its rank and its probe at the end beside the start.

    - `diverged`: it stopped for non-finite losses, or its features are not finite.
    - `collapsed`: the rank fell to less than half, and the k-NN below that of random weights.
    - `healthy`: the k-NN is above that of random weights.
    - `idle`: none of these.
    """
    if outcome == "failed" or not all(map(math.isfinite, last.values())):
        return "diverged"
    if last["rank"] < first["rank"] / 2 and last["knn"] < first["knn"]:
        return "collapsed"
    return "healthy" if last["knn"] > first["knn"] else "idle"


# --- recording -----------------------------------------------------------------------------------


def columns(metrics: Path) -> dict[str, tuple[list[int], list[float | None]]]:
    """The scalars that a verdict may look at, each with its steps; four digits."""
    found: dict[str, tuple[list[int], list[float | None]]] = {}
    for line in metrics.read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name.startswith(HEALTH) or name in KEPT:
                steps, values = found.setdefault(name, ([], []))
                steps.append(record["step"])
                values.append(None if value is None else float(f"{value:.4g}"))
    return found


def record(recipe: str, seed: int, folder: Path, steps: int | None = None) -> dict[str, Any]:
    """Train one run into a folder; its trace and what it is labelled by."""
    settings = [*SMALL, *RECIPES[recipe], f"train.seed={seed}"]
    if steps is not None:
        settings.append(f"train.max_steps={steps}")
    config = load_run("image/quickstart", settings)
    modality = config.modality.cls(config.modality.config)
    first = measure(make_backbone(config, modality), config, modality)
    try:
        outcome: str = session.train(config, folder, start("cpu"))
        frozen = load_backbone(folder)
        last = measure(frozen.backbone, config, modality)
    except TrainingError as error:
        print(error, file=sys.stderr)
        outcome, last = "failed", first
    return {
        "recipe": recipe,
        "seed": seed,
        "settings": settings,
        "label": label(outcome, first, last),
        "outcome": outcome,
        "first": first,
        "last": last,
        "columns": columns(folder / "metrics.jsonl"),
    }


def jobs(args: argparse.Namespace) -> Iterator[tuple[str, int, Path]]:
    for seed in range(args.seeds):
        for recipe in args.recipe or RECIPES:
            path = args.output / f"{recipe}_{seed}.json"
            if not path.exists():
                yield recipe, seed, path


def record_all(args: argparse.Namespace) -> None:
    register()
    args.output.mkdir(parents=True, exist_ok=True)
    for recipe, seed, path in jobs(args):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            trace = record(recipe, seed, Path(folder))
        path.write_text(json.dumps(trace, separators=(",", ":")) + "\n")
        took = time.perf_counter() - began
        print(f"{path.name}: {trace['label']} in {took:.0f} s", flush=True)


def table(args: argparse.Namespace) -> None:
    rows, results = [], []
    for path in sorted(args.traces.glob("*.json")):
        run = json.loads(path.read_text())
        first, last = run["first"], run["last"]
        changes = [f"{first[name]:.3g} to {last[name]:.3g}" for name in ("rank", "std", "knn")]
        rows.append([run["recipe"], run["seed"], *changes, run["label"]])
        results.append({name: value for name, value in run.items() if name != "columns"})
    head = ["recipe", "seed", "rank", "spread", "k-NN", "label"]
    common.report("health", head, rows, results, args.output)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    recording = commands.add_parser("record", help="train and write the traces that are missing")
    recording.add_argument("--output", type=Path, required=True, metavar="DIR")
    recording.add_argument("--seeds", type=int, default=5)
    recording.add_argument("--recipe", action="append", choices=RECIPES)
    recording.set_defaults(run=record_all)
    telling = commands.add_parser("table", help="what the traces are labelled by")
    telling.add_argument("--traces", type=Path, required=True, metavar="DIR")
    telling.add_argument("--output", type=Path, help="write OUTPUT.json and OUTPUT.md")
    telling.set_defaults(run=table)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
