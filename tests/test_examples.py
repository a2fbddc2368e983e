"""Packages in `examples` are what any stranger can write: they know our public face alone."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path

import house_rules as rules
import pytest

import jepa
import jepa.core
from jepa import cli

ROOT = Path(jepa.__file__).parents[1] / "examples"
FOLDERS = sorted(path.parent for path in ROOT.glob("*/pyproject.toml"))
FILES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))
LONGEST = 300

pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(), reason="examples are in a checkout, not in a wheel"
)

FACE = {"jepa.core": set(jepa.core.__all__), "jepa.testing": {"conformance"}, "jepa": {"load"}}
"""Modules that strangers may import, and what of them."""


def only_the_public_face(tree: ast.AST, module: str) -> Iterator[tuple[int, str]]:
    """Everything of ours that is imported or reached for stands in the public face."""
    aliases = rules.names_of_imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "jepa" and alias.name not in FACE:
                    yield node.lineno, f"imports {alias.name}"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jepa":
            known = FACE.get(node.module or "", set()) if node.level == 0 else set()
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if alias.name not in known and inner not in FACE:
                    yield node.lineno, f"imports {inner}"
        elif isinstance(node, ast.Attribute):
            base = rules.dotted(node.value, aliases)
            known = FACE.get(base, {node.attr})
            if node.attr not in known and f"{base}.{node.attr}" not in FACE:
                yield node.lineno, f"uses {base}.{node.attr}"


SHARED = (
    rules.no_broad_except,
    rules.no_global_randomness,
    rules.no_keyword_sinks,
    rules.no_hasattr,
    rules.configs_are_frozen,
    rules.public_things_have_docstrings,
)


def test_examples_were_found():
    assert {folder.name for folder in FOLDERS} >= {"jepa-imu", "jepa-spiral-masks"}
    assert len(FILES) >= 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_knows_the_public_face_alone(path):
    found = list(only_the_public_face(ast.parse(path.read_text("utf-8")), ""))
    assert not found, f"{path}: {found}"


@pytest.mark.parametrize("rule", SHARED, ids=lambda rule: rule.__name__)
def test_rules_of_the_house_hold_in_them_too(rule):
    complaints = [
        f"{path.relative_to(ROOT)}:{line}: {complaint}"
        for path in FILES
        if "tests" not in path.parts[len(ROOT.parts) :]
        for line, complaint in rule(ast.parse(path.read_text("utf-8")), path.stem)
    ]
    assert not complaints, "\n".join(complaints)


def test_their_files_are_short():
    long = {str(path): n for path in FILES if (n := path.read_text("utf-8").count("\n")) > LONGEST}
    assert not long, f"longer than {LONGEST} lines: {long}"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_package_names_its_parts_and_needs(folder):
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == folder.name
    assert any(need.startswith("anyjepa>=") for need in project["dependencies"])
    for points in project["entry-points"].values():
        for target in points.values():
            module = folder / f"{target.split(':')[0].replace('.', '/')}.py"
            assert f"class {target.split(':')[1]}(" in module.read_text()
    assert (folder / "README.md").is_file()
    assert list((folder / "tests").glob("test_*.py"))


def told(folder: Path) -> list[list[str]]:
    """Words of every `jepa` command in the README and in the heads of configs."""
    pages = [folder / "README.md", *folder.glob("*.yaml")]
    lines = [line.lstrip("# ") for page in pages for line in page.read_text("utf-8").splitlines()]
    return [shlex.split(line) for line in lines if re.match(r"jepa [a-z]+ ?-?", line)]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_commands_that_are_told_are_understood(folder):
    commands = told(folder)
    assert {"plugins", "train"} <= {words[1] for words in commands}
    for words in commands:
        args = cli.parse(words[1:])
        if "config" in args and str(args.config).endswith(".yaml"):
            assert (folder / args.config).is_file(), words


@pytest.mark.parametrize(
    ("code", "fine"),
    [
        ("from jepa.core import Grid, Masks", True),
        ("from jepa.testing import conformance", True),
        ("import jepa\nencoder = jepa.load('run')", True),
        ("from jepa import load", True),
        ("import jepa_imu.watch\nfrom jepa_imu import signal", True),
        ("import jepa.core as core", True),
        ("from jepa.core.grid import Grid", False),
        ("from jepa.core import registry", False),
        ("from jepa.plugins import layers", False),
        ("from jepa import cli", False),
        ("import jepa.evaluation", False),
        ("import jepa.core\nx = jepa.core.settings", False),
        ("import jepa\nx = jepa.cli", False),
        ("import jepa.core as core\nx = core.registry.find('encoder', 'vit')", False),
        ("import jepa.core as core\nx = core.Grid", True),
        ("from jepa import core\nx = core.settings", False),
        ("import jepa as j\nx = j.core.pictures", False),
        ("def f():\n    from jepa.testing.setup import GRIDS", False),
    ],
)
def test_the_checker_can_tell(code, fine):
    assert (not list(only_the_public_face(ast.parse(textwrap.dedent(code)), ""))) is fine
