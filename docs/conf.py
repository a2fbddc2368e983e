"""Settings of Sphinx: `make docs`."""

from jepa import __version__

project = "anyjepa"
author = "The anyjepa authors"
release = version = __version__

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"anyjepa {release}"
