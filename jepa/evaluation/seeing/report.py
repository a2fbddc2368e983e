"""One page with every sheet in it, which opens without a network."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

import attrs

_STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem 1.25rem 4rem; color: #1b1f24;
       background: #fff; font: 16px/1.55 system-ui, sans-serif; }
h1 { margin-bottom: .2rem; } h2 { margin: 3rem 0 .3rem; }
p { max-width: 48rem; } table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .15rem 1rem .15rem 0; text-align: left; vertical-align: top;
         overflow-wrap: anywhere; }
th { font-weight: 600; white-space: nowrap; }
nav a { margin-right: 1rem; white-space: nowrap; }
img { max-width: 100%; height: auto; border: 1px solid #d0d7de; border-radius: 4px; }
pre { background: #f6f8fa; padding: 1rem; overflow-x: auto; font-size: 13px; }
.absent { color: #6e4a00; }
"""
# The page may load nothing, whatever a name in it says.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


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
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<table>{rows}</table>
<nav aria-label="sheets">{contents}</nav>
{absent}
{"".join(_section(sheet) for sheet in sheets)}
<h2>The run's config</h2>
<details><summary>show</summary><pre>{escape(config)}</pre></details>
</body>
</html>
"""


def _section(sheet: Shown) -> str:
    data = base64.b64encode(sheet.png).decode("ascii")
    return f"""<section id="{escape(sheet.name)}">
<h2>{escape(sheet.title)}</h2>
<p>{escape(sheet.reading)}</p>
<img alt="{escape(sheet.title)} {escape(sheet.reading)}" src="data:image/png;base64,{data}">
</section>
"""
