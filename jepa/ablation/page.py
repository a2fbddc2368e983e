"""`report.html`: the whole sweep on one page, which opens without a network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from jepa.ablation import page_parts as parts
from jepa.ablation import wording
from jepa.ablation.courses import knn, losses
from jepa.ablation.figures import course_plot, interval_plot
from jepa.ablation.masks_sheet import MasksSheet, masks_sheets
from jepa.ablation.summary import Measure
from jepa.ablation.telling import Findings
from jepa.core.settings import unstructure
from jepa.evaluation.comparison import ACCURACY
from jepa.evaluation.pages import document, picture

_STYLE = """
.scroll { overflow-x: auto; max-width: 100%; }
.scroll table { margin: .5rem 0; }
.scroll th, .scroll td { padding: .3rem 1.1rem .3rem 0; white-space: nowrap; }
.scroll thead th { border-bottom: 2px solid #d0d7de; vertical-align: bottom; }
.scroll tbody td { border-bottom: 1px solid #eaeef2; }
.label { max-width: 18rem; white-space: normal !important; min-width: 7rem; }
.small { color: #57606a; font-size: .86em; display: block; }
.best { font-weight: 700; } .baseline td { color: #57606a; font-style: italic; }
.better { color: #0a6b2d; } .worse { color: #a40e26; }
.failed { color: #a40e26; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin: 1rem 0; }
.plots img { flex: 1 1 20rem; max-width: min(100%, 37rem); min-width: 0; box-sizing: border-box; }
.masks h3 { margin: 1.6rem 0 .2rem; } .masks p { margin: .2rem 0 .5rem; }
.masks .plots { margin: .4rem 0; }
ul { max-width: 52rem; padding-left: 1.2rem; } li { margin: .25rem 0; }
details { margin: .6rem 0; } summary { cursor: pointer; }
code { overflow-wrap: anywhere; font-size: .9em; }
"""
_SECTIONS = (
    ("results", "Results"),
    ("conclusions", "What can be concluded"),
    ("courses", "How the runs went"),
    ("masks", "Masks"),
    ("cost", "Cost"),
    ("runs", "Runs"),
    ("file", "The sweep's file"),
)
_ONLINE = Measure("online k-NN", ACCURACY)
_NOT_COMPARABLE = ("target", "objective", "regularizers")


def page(found: Findings) -> str:
    """The page as HTML. Every text is escaped."""
    bodies = {
        "results": parts.results(found) + _intervals(found),
        "conclusions": parts.listed(found.notes),
        "courses": _courses(found),
        "masks": _masks(found),
        "cost": parts.costs(found),
        "runs": parts.runs(found),
        "file": f"<pre>{escape(found.file)}</pre>",
    }
    facts = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>"
        for name, text in {**found.facts, "made": found.where, "by": found.command}.items()
    )
    contents = "".join(f'<a href="#{name}">{escape(title)}</a> ' for name, title in _SECTIONS)
    sections = "".join(
        f'<section id="{name}"><h2>{escape(title)}</h2>\n{bodies[name]}</section>\n'
        for name, title in _SECTIONS
    )
    title = escape(found.title)
    body = f'<h1>{title}</h1>\n<table>{facts}</table>\n<nav aria-label="sections">{contents}</nav>'
    return document(found.title, f"{body}\n{sections}", _STYLE)


def _intervals(found: Findings) -> str:
    """A plot a measure."""
    shown = [
        picture(
            interval_plot(found.sweep, found.summary, measure),
            f"{wording.title(measure)}: mean and 95% interval of each variant, as in the table; "
            "small dots are seeds.",
        )
        for measure in found.summary.measures
    ]
    return f'<div class="plots">{"".join(shown)}</div>' if shown else ""


def _courses(found: Findings) -> str:
    """Loss, and the online k-NN where the runs have it."""
    variants = found.sweep.variants
    lost = {variant.label: losses(found.of(variant)) for variant in variants}
    known = {variant.label: knn(found.of(variant)) for variant in variants}
    shown = []
    if any(lost.values()):
        png = course_plot(found.sweep, lost, None)
        shown.append(picture(png, "Training loss of each variant over the samples seen."))
    if any(known.values()):
        png = course_plot(found.sweep, known, _ONLINE)
        shown.append(picture(png, "Online k-NN accuracy of each variant over the samples seen."))
    if not shown:
        return "<p>No run has kept a metrics.jsonl yet (observer jsonl).</p>"
    told = "Thin lines are runs, thick ones means over seeds (of the loss: running means). "
    told += _comparable(found)
    if any(known.values()):
        told += " The online k-NN can: it asks the same question of every variant."
    return f'<p>{escape(told)}</p><div class="plots">{"".join(shown)}</div>'


def _comparable(found: Findings) -> str:
    """What the losses do not say."""
    configs = [unstructure(run.config) for run in found.sweep.runs]
    models = [config["model"] for config in configs]
    varied = [
        f"model.{name}"
        for name in _NOT_COMPARABLE
        if any(model[name] != models[0][name] for model in models)
    ]
    varied += ["masks"] if any(each["masks"] != configs[0]["masks"] for each in configs) else []
    if not varied:
        return (
            "A lower loss is no better model: targets are learned, and easy ones are predicted "
            "well. Losses of variants do not rank them."
        )
    return (
        f"Losses of these variants cannot be compared: they differ in {', '.join(varied)}, so each "
        "answers another question."
    )


def _masks(found: Findings) -> str:
    sheets = masks_sheets(found.sweep)
    if not sheets:
        return "<p>They were not drawn.</p>"
    told = (
        "Masks of the first step over the same inputs. What is veiled is hidden from the encoder; "
        "coloured outlines are targets. The maps show how often each place is context, and target, "
        "over 200 steps, all on one scale. Masks that change over training are shown as it begins "
        "and as it ends."
    )
    everyone = len(sheets) == 1 and len(sheets[0].labels) == len(found.sweep.variants)
    return (
        f'<div class="masks"><p>{escape(told)}</p>'
        f"{''.join(_masks_of(sheet, everyone) for sheet in sheets)}</div>"
    )


def _masks_of(sheet: MasksSheet, everyone: bool) -> str:
    name = "All variants share these masks" if everyone else ", ".join(sheet.labels)
    lines = "".join(f"<p>{escape(line)}</p>" for line in sheet.told)
    return f"<h3>{escape(name)}</h3>{lines}{_pictures(sheet, name)}"


def _pictures(sheet: MasksSheet, name: str) -> str:
    alts = (f"Masks over inputs: {name}.", f"How often each place is context and target: {name}.")
    shown: Sequence[str] = [
        picture(path.read_bytes(), alt)
        for path, alt in zip(sheet.pictures, alts, strict=False)
        if path.is_file()
    ]
    return f'<div class="plots">{"".join(shown)}</div>' if shown else ""
