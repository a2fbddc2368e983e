"""One page with every sheet in it, which opens without a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import attrs

from jepa.evaluation.pages import document, picture


@attrs.frozen
class Shown:
    """A sheet as the page shows it.

    Args:
        name: of the sheet, which is its anchor: letters alone.
        title: what one sees.
        reading: how to read it.
        png: the picture.
    """

    name: str
    title: str
    reading: str
    png: bytes


def page(
    title: str,
    facts: Mapping[str, str],
    sheets: Sequence[Shown],
    left_out: Mapping[str, str],
    config: str,
) -> str:
    """The page as HTML. Every text is escaped.

    Args:
        title: of the page.
        facts: of the run, such as its step.
        sheets: in their order.
        left_out: names of sheets that are missing, with the reason.
        config: of the run, as YAML.
    """
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    contents = "".join(f'<a href="#{escape(s.name)}">{escape(s.name)}</a>' for s in sheets)
    absent = "".join(
        f'<p class="absent">No sheet &ldquo;{escape(name)}&rdquo;: {escape(reason)}.</p>'
        for name, reason in left_out.items()
    )
    return document(
        title,
        f"""<h1>{escape(title)}</h1>
<table>{rows}</table>
<nav aria-label="sheets">{contents}</nav>
{absent}
{"".join(_section(sheet) for sheet in sheets)}
<h2>The run's config</h2>
<details><summary>show</summary><pre>{escape(config)}</pre></details>""",
    )


def _section(sheet: Shown) -> str:
    return f"""<section id="{escape(sheet.name)}">
<h2>{escape(sheet.title)}</h2>
<p>{escape(sheet.reading)}</p>
{picture(sheet.png, f"{sheet.title} {sheet.reading}")}
</section>
"""
