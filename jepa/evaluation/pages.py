"""Pages for people: one file, which opens without a network."""

from __future__ import annotations

import base64
from html import escape

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


def document(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: plain text; it is escaped.
        body: HTML, in which every text is escaped already.
        style: CSS besides that of all pages.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">
<title>{escape(title)}</title>
<style>{_STYLE}{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def picture(png: bytes, alt: str) -> str:
    """A picture that the page holds.

    Args:
        png: the file.
        alt: plain text, which says what is seen; it is escaped.
    """
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(alt)}" src="data:image/png;base64,{data}">'
