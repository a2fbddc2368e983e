"""What README and docs say is true: commands, settings, names, links, and the plugin."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image

import jepa
import jepa.core
import jepa.testing
from jepa import cli
from jepa.ablation.plan import plan as plan_sweep
from jepa.ablation.settings import AblationConfig, load_ablation
from jepa.core import MaskSampler, registry
from jepa.core.build import build
from jepa.core.config import RunConfig, layer, load_run, merge, parse_yaml, read_file
from jepa.core.kinds import KINDS
from jepa.core.settings import structure
from jepa.core.training.plan import Plan
from jepa.core.training.schedules import Schedules

ROOT = Path(jepa.__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
MANY = re.DOTALL | re.MULTILINE
IMAGENET = 1_281_167  # training samples: what the paper's configs are made for

pytestmark = pytest.mark.skipif(
    not PAGES[0].is_file(), reason="README and docs are in a checkout, not in a wheel"
)


class Snippet(NamedTuple):
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text("utf-8")
    fences = re.finditer(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Snippet(page, text.count("\n", 0, m.start()) + 1, m[1], m[2]) for m in fences]


SNIPPETS = [snippet for page in PAGES for snippet in snippets(page)]


def shell_lines(snippet: Snippet) -> list[str]:
    """The commands of a block, continued lines joined."""
    joined = snippet.text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


class Command(NamedTuple):
    """One `jepa` command line, and how many processes it starts."""

    where: str
    arguments: tuple[str, ...]
    processes: int


def command_of(line: str, where: str) -> Command | None:
    """The `jepa` command in a line, however it is started."""
    words = shlex.split(line, comments=True)
    start = next((i + 1 for i, word in enumerate(words) if word == "jepa"), None)
    if start is None or words[0] not in ("jepa", "torchrun", "srun"):
        return None
    arguments = tuple(words[start:])
    nproc = re.search(r"--nproc(?:-per-node)?[= ](\d+)", line)
    return Command(where, arguments, int(nproc[1]) if nproc else 1)


def headers(config: Path) -> list[str]:
    """The commands in a shipped config's head."""
    return re.findall(r"^# +(jepa .*)$", config.read_text("utf-8"), re.MULTILINE)


SHIPPED = sorted((ROOT / "jepa" / "configs").rglob("*.yaml"))
SWEEPS = [path for path in SHIPPED if path.parent.name == "ablations"]
RUNS = [path for path in SHIPPED if path not in SWEEPS]
LINES = [
    *((line, str(s)) for s in SNIPPETS if s.language == "bash" for line in shell_lines(s)),
    *((line, path.name) for path in SHIPPED for line in headers(path)),
]
COMMANDS = [found for line, where in LINES if (found := command_of(line, where))]


def test_commands_were_found():
    told = {command.arguments[0] for command in COMMANDS}
    assert told == set(cli.COMMANDS), "README and docs show every command"
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: f"{c.where}-{c.arguments[0]}")
def test_a_command_line_is_understood(command):
    """Arguments parse; the config is sound; parts fit together; steps can be shared out."""
    args = cli.parse(command.arguments)
    if "config" not in args:
        return
    if command.arguments[0] == "ablate":
        plan_sweep(load_ablation(args.config), Path("runs"), args.overrides)
        return
    if any("random_tokens" in text for text in args.overrides):
        pytest.skip("names the README's plugin; test_the_plugin_works runs it")
    if any("two_halves" in text for text in args.overrides):
        pytest.skip("names the plugin of docs/plugins.md; test_new_plugin.py runs its commands")
    config = load_run(args.config, args.overrides, args.modality)
    model = (config.modality, config.model, config.masks)
    if model not in BUILT:
        with torch.device("meta"):
            BUILT[model] = build(config).samplers
    plan = Plan(config, 0, command.processes, IMAGENET)
    if command.arguments[0] == "train":
        plan.check_groups(BUILT[model])
    assert Schedules(config.optim, config.train, plan.steps_per_epoch).total_steps > 0


BUILT: dict[tuple[object, ...], tuple[MaskSampler, ...]] = {}
"""The samplers of what was built: most commands train one of few models."""


@pytest.mark.parametrize(
    "target", sorted({m[1] for line, _ in LINES if (m := re.match(r"make ([\w-]+)", line))})
)
def test_make_knows_the_target(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)


@pytest.mark.parametrize("snippet", [s for s in SNIPPETS if s.language == "yaml"], ids=str)
def test_settings_are_accepted(snippet):
    """A snippet stands over the quickstart's settings, or is a whole config or sweep."""
    shown = parse_yaml(snippet.text, str(snippet))
    if "vary" in shown:
        plan_sweep(structure(shown, AblationConfig, str(snippet)), Path("runs"))
        return
    under = {} if "train" in shown else read_file("image/quickstart")[0]
    structure(layer(merge(under, shown)), RunConfig, str(snippet))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_config_opens_with_its_command(path):
    commands = [command_of(line, path.name) for line in headers(path)]
    named = [command.arguments for command in commands if command is not None]
    first = ("ablate", "--config") if path in SWEEPS else ("train", "--config")
    name = f"{path.parent.name}/{path.stem}"
    assert (*first, name) in [arguments[:3] for arguments in named]


def test_every_shipped_config_is_listed():
    listed = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    names = sorted(f"{path.parent.name}/{path.stem}" for path in RUNS)
    assert sorted(re.findall(r"^\| `(\w+/\w+)` ", listed, re.MULTILINE)) == names
    listed = (ROOT / "docs" / "ablations.md").read_text("utf-8")
    names = [f"ablations/{path.stem}" for path in SWEEPS]
    assert sorted(re.findall(r"^\| `(ablations/\w+)` ", listed, re.MULTILINE)) == names


def test_every_built_in_part_is_listed():
    page = (ROOT / "docs" / "configuration.md").read_text("utf-8")
    table = page.split("<!-- parts:")[1].split("The sources:")[0]
    rows = re.findall(r"^\| (\w+) \| (.*) \|$", table, re.MULTILINE)
    listed = {kind: re.findall(r"`(\w+)`", names) for kind, names in rows if kind != "kind"}
    ours = {
        kind: [p.name for p in registry.plugins() if p.kind == kind and p.builtin] for kind in KINDS
    }
    assert listed == ours


def test_every_kind_of_plugin_is_listed():
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w+) \| `([\w.]+)` \| `(\w+)` \|", page, re.MULTILINE)
    kinds = [(kind.name, kind.group, kind.interface.split(":")[1]) for kind in KINDS.values()]
    assert rows == kinds


def test_strangers_are_led_to_the_public_face_alone():
    page = (ROOT / "docs" / "plugins.md").read_text("utf-8")
    named = set(re.findall(r"`jepa\.core\.([\w.]+)`", page))
    assert named
    assert named <= set(jepa.core.__all__)


@pytest.mark.parametrize("text", [jepa.testing.__doc__, "docs/plugins.md"], ids=["module", "page"])
def test_the_example_of_the_kit_works(text):
    page = (ROOT / text).read_text("utf-8") if text.endswith(".md") else text
    example = re.search(r"^( *)from jepa\.testing import conformance\n.*?^ +check\(\)$", page, MANY)
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(example[0]), scope)
    (mark,) = scope["test_it_keeps_its_promises"].pytestmark
    for parameters in mark.args[1]:
        scope["test_it_keeps_its_promises"](*parameters.values)


def slug(heading: str) -> str:
    """The anchor that the forges and Sphinx give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in found if not link.startswith(("https:", "http:"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text("utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page):
    text = page.read_text("utf-8")
    named = re.findall(r"`((?:jepa|tests|docs|constraints|\.ci|benchmarks)/[\w./-]*)`", text)
    written_by_commands = {"docs/_build/html"}
    absent = {n for n in named if not (ROOT / n).exists()} - written_by_commands
    assert not absent


# --- the plugin of the README ---------------------------------------------------------------------


def readme_snippet(language: str) -> str:
    (found,) = [s for s in snippets(ROOT / "README.md") if s.language == language]
    return found.text


def test_the_plugin_is_as_short_as_promised():
    lines = [line for line in readme_snippet("python").splitlines() if line.strip()]
    assert len(lines) <= 20


@pytest.mark.slow
def test_the_plugin_works(tmp_path):
    """As a stranger's package: installed by pip, found by name, trained with, typos refused."""
    source, site, run = tmp_path / "random_tokens", tmp_path / "site", tmp_path / "run"
    source.mkdir()
    (source / "pyproject.toml").write_text(readme_snippet("toml"))
    (point,) = tomllib.loads(readme_snippet("toml"))["project"]["entry-points"].values()
    module = point["random_tokens"].split(":")[0]
    (source / f"{module}.py").write_text(readme_snippet("python"))

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(site)},
            cwd=tmp_path,
            check=False,
        )

    install = ["pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = python(*install, "--target", str(site), str(source))
    assert done.returncode == 0, done.stderr

    (line,) = [line for line, _ in LINES if line.startswith("jepa ") and "random_tokens" in line]
    train = shlex.split(line)
    train[train.index("--output") + 1] = str(run)
    done = python(*train, "train.max_steps=2", "observers=[{name: jsonl}]", "train.global_batch=8")
    assert done.returncode == 0, done.stderr
    (folder,) = (run / "checkpoints").iterdir()
    parts = json.loads((folder / "packages.json").read_text())["parts"]
    assert {
        "kind": "mask_sampler",
        "name": "random_tokens",
        "package": "jepa-random-tokens",
        "version": "0.1",
    } in parts

    refused = python(*[word.replace("hidden:", "hiden:") for word in train], "--dry-run")
    assert refused.returncode == 2
    assert "did you mean 'hidden'" in refused.stderr


# --- using the result -----------------------------------------------------------------------------


def test_the_python_of_the_docs_works(tmp_path, monkeypatch):
    """The snippets of runs.md and the README, on a run of one step, give what the pages say."""
    (snippet,) = [s for s in SNIPPETS if s.language == "python" and s.page.name == "runs.md"]
    (session,) = [s for s in SNIPPETS if s.language == "pycon"]
    typed = "\n".join(line.removeprefix(">>> ") for line in session.text.splitlines())
    monkeypatch.chdir(tmp_path)
    train = "train --config image/quickstart --output runs/first train.max_steps=1"
    assert cli.main([*train.split(), "observers=[]", "train.device=cpu"]) == 0
    Image.new("L", (30, 40)).save("photo.png")
    for text in (snippet.text, typed):
        scope: dict[str, Any] = {}
        exec(text, scope)
        model = scope["model"]
        assert scope["features"].shape == (1, model.dim)
        inputs = model.transform("photo.png")[None]
        assert model.tokens(inputs).shape == (1, 49, model.dim)
        assert any(
            name.startswith("encoder.blocks.0.attn.qkv") for name in model.backbone.state_dict()
        )
