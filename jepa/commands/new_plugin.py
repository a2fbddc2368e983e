"""`jepa new-plugin`: a package with one part that works, to begin from."""

from __future__ import annotations

import argparse
import importlib.metadata
import keyword
import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import jepa
from jepa.commands.arguments import folder
from jepa.commands.new_plugin_texts import CALLS, COMMANDS, IMPORTS, PRELUDES
from jepa.core import registry
from jepa.core.errors import ConfigError, Fault
from jepa.core.kinds import KINDS, Kind

HELP = "write a package with one part that installs, passes the conformance kit and trains"

_EPILOG = """\
The package is a folder with pyproject.toml, one module, tests that run the conformance kit
(jepa.testing), and a README with the commands that come next. Nothing is installed."""

_COMMON = {
    "pyproject.toml": "pyproject.toml.in",
    "README.md": "README.md.in",
    "{{module}}.py": "{{kind}}.py.in",
    "tests/test_{{module}}.py": "test.py.in",
}
_MORE: Mapping[str, Mapping[str, str]] = {
    "modality": {
        "quickstart.yaml": "modality/quickstart.yaml.in",
        "make_samples.py": "modality/make_samples.py.in",
    }
}
"""Files of a package and their templates; those that a kind has besides."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.epilog = _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", metavar="NAME", help="that configs call the part by")
    parser.add_argument(
        "--kind", required=True, choices=list(KINDS), metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument(
        "--output", type=folder, metavar="DIR", help="folder of the package [jepa-NAME]"
    )


def run(args: argparse.Namespace) -> int:
    """Write the package and say what comes next."""
    kind = KINDS[args.kind]
    check_name(args.name, kind)
    words = values(args.name, kind)
    check_package(words["package"])
    output: Path = args.output or Path(words["package"])
    write(output, kind, words)
    print(f"package      {output}")
    print("next         " + f"\n{'':13}".join(_next(output, words)))
    return 0


def check_name(text: str, kind: Kind) -> None:
    """Refuse a name that no config, or no module, could have.

    Raises:
        ConfigError: it is no identifier in lower case, or taken.
    """
    from jepa.core.yamlfile import parse_yaml

    formed = re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", text)
    if not formed or keyword.iskeyword(text) or parse_yaml(text, "NAME") != text:
        raise _refused(
            f"found '{text}', allowed: letters a to z, digits and single underscores, first a "
            "letter; no word of Python or YAML"
        )
    for plugin in registry.plugins():
        if (plugin.kind, plugin.name) == (kind.name, text):
            owner = "built in" if plugin.builtin else f"of {plugin.package} {plugin.version}"
            raise _refused(
                f"the {kind.words} '{text}' exists already, {owner}; choose another name"
            )


def check_package(package: str) -> None:
    """Refuse the name of a package that is installed: pip would put the new one in its place.

    Raises:
        ConfigError: it is.
    """
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return
    raise _refused(
        f"the package would be called {package}, and {package} {version} is installed; choose "
        "another name"
    )


def _refused(message: str) -> ConfigError:
    return ConfigError(Fault("NAME", message), "new-plugin")


def values(text: str, kind: Kind) -> dict[str, str]:
    """What stands in templates for `{{...}}`, by the words between the braces."""
    camel = "".join(word.capitalize() for word in f"{text}_{kind.name}".split("_"))
    filled = {
        "name": text,
        "kind": kind.name,
        "words": kind.words,
        "group": kind.group,
        "Class": camel,
        "module": f"jepa_{text}",
        "package": f"jepa-{text.replace('_', '-')}",
        "version": jepa.__version__,
    }
    texts = {
        "commands": COMMANDS[kind.name],
        "call": CALLS.get(kind.name, '"{{kind}}", {{Class}}'),
        "imports": IMPORTS.get(kind.name, ""),
        "prelude": PRELUDES.get(kind.name, ""),
    }
    return filled | {key: fill(template, filled) for key, template in texts.items()}


def fill(template: str, words: Mapping[str, str]) -> str:
    """Put words in place of `{{...}}`.

    Raises:
        KeyError: a template asks for a word that nobody knows.
    """
    return re.sub(r"\{\{(\w+)\}\}", lambda match: words[match[1]], template)


def write(output: Path, kind: Kind, words: Mapping[str, str]) -> None:
    """Write all files, or none.

    Raises:
        ConfigError: the folder exists.
    """
    if output.exists():
        raise ConfigError(
            Fault("--output", f"found {output}, which exists; allowed: a folder that does not"),
            "new-plugin",
        )
    templates = files("jepa") / "templates"
    output.parent.mkdir(parents=True, exist_ok=True)
    half = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        for path, template in {**_COMMON, **_MORE.get(kind.name, {})}.items():
            target = half / fill(path, words)
            target.parent.mkdir(exist_ok=True)
            text = (templates / fill(template, words)).read_text("utf-8")
            target.write_text(fill(text, words), "utf-8")
        half.chmod(0o755)  # mkdtemp's folders are for one's own eyes
        half.rename(output)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _next(output: Path, words: Mapping[str, str]) -> list[str]:
    place = shlex.quote(str(output))
    return [
        f"cd {place}",
        "pip install .",
        "python -m pytest",
        *words["commands"].splitlines(),
    ]
