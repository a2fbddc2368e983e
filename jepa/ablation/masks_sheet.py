"""The masks of each variant over the same inputs, as pictures that the page takes up.

They need the data, so they are drawn before the first run starts, into `masks/` of the sweep's
folder. Variants with the same masks share their pictures.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import torch
from matplotlib.figure import Figure
from torch import Tensor

from jepa.ablation.plan import Sweep
from jepa.core.build import make_backbone, make_modality, make_samplers
from jepa.core.config import RunConfig
from jepa.core.coverage import Counts, measure
from jepa.core.data.opening import open_source
from jepa.core.errors import JepaError
from jepa.core.files import write_atomic
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.core.settings import unstructure
from jepa.evaluation.masks_drawing import FLATTEST, heat_map, outlines, planes, show
from jepa.evaluation.masks_figure import View
from jepa.evaluation.previews import previews

FOLDER = "masks"
_INDEX = "masks.json"
_SAMPLES = 6
_STEPS = 200
_DPI = 130
_WIDE = 4.6  # inches of all pictures beside each other
_ACROSS = 3  # square pictures beside each other


class _Drawn(NamedTuple):
    """Masks of a run's first step, their statistics, and the inputs [n, H, W, 3] uint8."""

    pictures: Tensor
    grid: Grid
    views: list[View]


@attrs.frozen(kw_only=True)
class MasksSheet:
    """Masks as the page shows them.

    Args:
        labels: of the variants that have them.
        told: how many tokens, a line a view; or why there are no pictures.
        pictures: PNG files, the masks first; none where they cannot be drawn.
    """

    labels: tuple[str, ...]
    told: tuple[str, ...]
    pictures: tuple[Path, ...]


def draw_masks_sheets(sweep: Sweep) -> None:
    """Draw the masks of all variants, of the first step of the first seed.

    What a variant's data or masks refuse is told in its place: its run will tell it too.

    Raises:
        OSError: the disk refused.
    """
    folder = sweep.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    told: list[dict[str, Any]] = []
    for labels, config in _groups(sweep):
        name = f"{len(told):02d}"
        entry: dict[str, Any] = {"labels": labels, "pictures": []}
        try:
            drawn = _draw(config)
        except JepaError as error:
            entry["told"] = [f"No masks: {error}"]
        else:
            entry["told"] = [_told(view, place, drawn) for place, view in enumerate(drawn.views)]
            for kind, figure in (("masks", _strip(drawn)), ("coverage", _maps(drawn))):
                entry["pictures"].append(f"{name}-{kind}.png")
                write_atomic(folder / entry["pictures"][-1], _png(figure))
        told.append(entry)
    write_atomic(folder / _INDEX, json.dumps(told, indent=2) + "\n")


def masks_sheets(sweep: Sweep) -> list[MasksSheet]:
    """What was drawn of the sweep's variants; empty where nothing was."""
    folder = sweep.folder / FOLDER
    try:
        told = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    drawn = {tuple(entry["labels"]): entry for entry in told}
    return [
        MasksSheet(
            labels=labels,
            told=tuple(drawn[labels]["told"]),
            pictures=tuple(folder / name for name in drawn[labels]["pictures"]),
        )
        for labels, _ in _groups(sweep)
        if labels in drawn
    ]


def _groups(sweep: Sweep) -> list[tuple[tuple[str, ...], RunConfig]]:
    """Labels of the variants that share everything that their masks depend on, and one's config."""
    groups: dict[str, tuple[list[str], RunConfig]] = {}
    firsts = {run.variant.label: run for run in reversed(sweep.runs)}
    for variant in sweep.variants:
        config = firsts[variant.label].config
        plain = unstructure(config)
        seen = (plain["masks"], plain["modality"], plain["data"], plain["model"]["tokenizer"])
        key = json.dumps([*seen, config.train.global_batch, config.train.max_steps], default=str)
        groups.setdefault(key, ([], config))[0].append(variant.label)
    return [(tuple(labels), config) for labels, config in groups.values()]


def _draw(config: RunConfig) -> _Drawn:
    modality = make_modality(config)
    with torch.device("meta"):
        grid = make_backbone(config, modality).tokenizer.grid
    seed, batch = config.train.seed, config.train.global_batch
    samplers = make_samplers(config, grid)
    groups = [min(sampler.trim_group or batch, batch) for sampler in samplers]
    pictures = previews(open_source(config.data, modality), modality, min(_SAMPLES, *groups))
    views = [
        View(
            config.masks[view].name,
            sampler.sample(group, Rng(seed, 0, group, 0, batch, view)),
            measure(sampler, grid, seed=seed, steps=_STEPS, global_batch=batch, view=view),
        )
        for view, (sampler, group) in enumerate(zip(samplers, groups, strict=True))
    ]
    return _Drawn(pictures, grid, views)


def _strip(drawn: _Drawn) -> Figure:
    """Inputs of one view after the other: the context, and targets outlined over the veil."""
    height, width = drawn.pictures.shape[1:3]
    columns = min(len(drawn.pictures), max(1, round(_ACROSS * height / width)))
    # Wide inputs lie below each other: fewer of them are enough.
    samples = min(len(drawn.pictures), max(columns * 2, 3))
    rows = -(-samples // columns)  # of a view
    wide = _WIDE / columns
    high = max(wide * height / width, 0.5)
    size = (columns * (wide + 0.1) + 0.3, len(drawn.views) * rows * (high + 0.12))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    cells = figure.subplots(len(drawn.views) * rows, columns, squeeze=False)
    for place, view in enumerate(drawn.views):
        of_view = cells[place * rows : (place + 1) * rows]
        if len(drawn.views) > 1:
            of_view[0, 0].set_ylabel(f"masks.{place}", fontsize=9)
        for axis in of_view.flat[samples:]:
            axis.remove()
        for sample, axis in enumerate(of_view.flat[:samples]):
            context = planes(view.masks.context[sample][None], drawn.grid).max(axis=0)
            show(axis, drawn.pictures[sample].numpy(), drawn.grid, context)
            outlines(axis, planes(view.masks.targets[sample], drawn.grid), drawn.grid)
    return figure


def _maps(drawn: _Drawn) -> Figure:
    """How often each place is context, and target, one view after the other."""
    ratio = drawn.pictures.shape[1] / drawn.pictures.shape[2]
    views = len(drawn.views)
    # Wide maps lie below each other.
    rows, columns, wide = (1, 2, 2.4) if ratio > 0.5 else (2, 1, 5.4)
    high = views * rows * (wide * max(ratio, FLATTEST) + 0.7)
    figure = Figure(figsize=(6.8, high), dpi=_DPI, layout="constrained")
    cells = figure.subplots(views * rows, columns, squeeze=False).reshape(views, 2)
    for place, (view, of_view) in enumerate(zip(drawn.views, cells, strict=True)):
        named = f"masks.{place}: " if views > 1 else ""
        shares = {"context": view.coverage.context, "target": view.coverage.target}
        for axis, (kind, share) in zip(of_view, shares.items(), strict=True):
            heat_map(figure, axis, share, drawn.grid, ratio, f"{named}how often {kind}")
    return figure


def _told(view: View, place: int, drawn: _Drawn) -> str:
    found, size = view.coverage, drawn.grid.size
    of_view = f"masks.{place}, " if len(drawn.views) > 1 else ""
    return (
        f"{of_view}{view.name}: {_counted(found.context_tokens)} of {size} tokens are context; "
        f"{found.targets} target block{'s' * (found.targets > 1)} of "
        f"{_counted(found.target_tokens)}, together {found.target_share:.0%} of the grid."
    )


def _counted(tokens: Counts) -> str:
    if tokens.min == tokens.max:
        return str(tokens.min)
    return f"{tokens.mean:.1f} ({tokens.min} to {tokens.max})"


def _png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
