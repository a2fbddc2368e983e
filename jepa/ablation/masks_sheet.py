"""The masks of each variant over the same inputs, as pictures that the page takes up.

They need the data, so they are drawn before the first run starts, into `masks/` of the sweep's
folder. Variants with the same masks share their pictures.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import torch
from matplotlib.figure import Figure
from torch import Tensor

from jepa.ablation.plan import Sweep
from jepa.ablation.strangers import strangers
from jepa.core.build import make_backbone, make_modality, make_samplers
from jepa.core.config import RunConfig
from jepa.core.coverage import Counts, measure
from jepa.core.data.opening import open_source
from jepa.core.errors import JepaError
from jepa.core.files import write_atomic
from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.core.settings import unstructure
from jepa.evaluation.masks_drawing import heat_map, map_ratio, outlines, planes, show
from jepa.evaluation.masks_figure import View
from jepa.evaluation.previews import previews

FOLDER = "masks"
_INDEX = "masks.json"
_SAMPLES = 6
_STEPS = 200
_DPI = 130
_WIDE = 4.6  # inches of all pictures beside each other
_ACROSS = 3  # square pictures beside each other
_MOMENTS = {"as training begins": 0.0, "as training ends": 1.0}
"""Shares of the schedule at which masks are looked at."""


class _Drawn(NamedTuple):
    """Masks of a run's first step, their statistics, and the inputs [n, H, W, 3] uint8.

    Each view stands below what tells it from the others, such as `masks.1`: nothing where it is
    alone. One that changes over training stands there twice, as training begins and as it ends.
    """

    pictures: Tensor
    grid: Grid
    views: dict[str, View]


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
    """Draw the masks of all variants, of the first step of the first seed, where nobody has yet.

    What a variant's data or masks refuse is told in its place: its run will tell it too.

    Raises:
        OSError: the disk refused.
    """
    folder = sweep.folder / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _index(folder)
    for key, _, config in _groups(sweep):
        known = drawn.get(key, {}).get("pictures", [])
        if not known or not all((folder / name).is_file() for name in known):
            drawn[key] = _sheet(folder, key, config)
    write_atomic(folder / _INDEX, json.dumps(drawn, indent=2) + "\n")


def masks_sheets(sweep: Sweep) -> list[MasksSheet]:
    """What was drawn of the sweep's variants; empty where nothing was."""
    folder = sweep.folder / FOLDER
    drawn = _index(folder)
    return [
        MasksSheet(
            labels=labels,
            told=tuple(drawn[key]["told"]),
            pictures=tuple(folder / name for name in drawn[key]["pictures"]),
        )
        for key, labels, _ in _groups(sweep)
        if key in drawn
    ]


def _index(folder: Path) -> dict[str, Any]:
    """What was drawn, by key: `told`, and the names of the `pictures`."""
    try:
        found = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sheet(folder: Path, key: str, config: RunConfig) -> dict[str, list[str]]:
    """Draw the pictures of one kind of masks; gives its entry of the index."""
    try:
        with strangers():
            drawn = _draw(config)
    except JepaError as error:
        return {"told": [f"No masks: {error}"], "pictures": []}
    pictures = []
    for kind, figure in (("masks", _strip(drawn)), ("coverage", _maps(drawn))):
        pictures.append(f"{key}-{kind}.png")
        write_atomic(folder / pictures[-1], _png(figure))
    told = [_told(name, view, drawn.grid) for name, view in drawn.views.items()]
    return {"told": told, "pictures": pictures}


def _groups(sweep: Sweep) -> list[tuple[str, tuple[str, ...], RunConfig]]:
    """Everything that masks depend on as a key, the variants that share it, and one's config."""
    groups: dict[str, tuple[list[str], RunConfig]] = {}
    firsts = {run.variant.label: run for run in reversed(sweep.runs)}
    for variant in sweep.variants:
        config = firsts[variant.label].config
        plain = unstructure(config)
        seen = [plain["masks"], plain["modality"], plain["data"], plain["model"]["tokenizer"]]
        train = config.train
        seen += [train.global_batch, train.max_steps, train.seed]
        key = hashlib.sha256(json.dumps(seen, default=str).encode()).hexdigest()[:12]
        groups.setdefault(key, ([], config))[0].append(variant.label)
    return [(key, tuple(labels), config) for key, (labels, config) in groups.items()]


def _draw(config: RunConfig) -> _Drawn:
    modality = make_modality(config)
    with torch.device("meta"):
        grid = make_backbone(config, modality).tokenizer.grid
    seed, batch = config.train.seed, config.train.global_batch
    samplers = make_samplers(config, grid)
    groups = [min(sampler.trim_group or batch, batch) for sampler in samplers]
    pictures = previews(open_source(config.data, modality), modality, min(_SAMPLES, *groups), grid)
    views: dict[str, View] = {}
    for view, (sampler, group) in enumerate(zip(samplers, groups, strict=True)):
        name = f"masks.{view}" if len(samplers) > 1 else ""
        drawn = {
            moment: sampler.sample(group, Rng(seed, 0, group, 0, batch, view, progress))
            for moment, progress in _MOMENTS.items()
        }
        begin, end = drawn.values()
        if torch.equal(begin.context, end.context) and torch.equal(begin.targets, end.targets):
            drawn = {"": begin}
        for moment, masks in drawn.items():
            found = measure(
                sampler, grid, seed=seed, steps=_STEPS, global_batch=batch, view=view,
                progress=_MOMENTS.get(moment, 0.0),
            )  # fmt: skip
            told = ", ".join(filter(None, [name, moment]))
            views[told] = View(config.masks[view].name, masks, found)
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
    for place, (name, view) in enumerate(drawn.views.items()):
        of_view = cells[place * rows : (place + 1) * rows]
        of_view[0, 0].set_ylabel(name.replace(", ", "\n"), fontsize=9)
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
    high = views * rows * (wide * map_ratio(ratio) + 0.7)
    figure = Figure(figsize=(6.8, high), dpi=_DPI, layout="constrained")
    cells = figure.subplots(views * rows, columns, squeeze=False).reshape(views, 2)
    for (name, view), of_view in zip(drawn.views.items(), cells, strict=True):
        named = f"{name}: " if name else ""
        shares = {"context": view.coverage.context, "target": view.coverage.target}
        for axis, (kind, share) in zip(of_view, shares.items(), strict=True):
            told = f"{named}how often {kind}"
            heat_map(figure, axis, share, drawn.grid, ratio, told, most=1.0)
    return figure


def _told(name: str, view: View, grid: Grid) -> str:
    found = view.coverage
    named = ", ".join(filter(None, [name, view.name]))
    return (
        f"{named}: {_counted(found.context_tokens)} of {grid.size} tokens are context; "
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
