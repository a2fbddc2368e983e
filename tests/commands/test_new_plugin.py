"""`jepa new-plugin`: what it refuses, and packages of every kind that work as they stand."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import jepa
from jepa import cli
from jepa.commands.new_plugin_texts import COMMANDS
from jepa.core.kinds import KINDS

TINY = (
    "train.max_steps=2 train.global_batch=8 train.device=cpu data.workers=0 "
    "'observers=[{name: jsonl}]'"
)


PIP = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
PIP += ["--no-build-isolation"]


def new_plugin(name: str, kind: str, *more: str) -> int:
    return cli.main(["new-plugin", name, "--kind", kind, *more])


# --- what is written, and what is refused -------------------------------------------------------


def test_the_package_stands_in_a_folder_of_its_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert new_plugin("two_halves", "mask_sampler") == 0
    found = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert found == {
        f"jepa-two-halves/{name}"
        for name in (
            *("pyproject.toml", "README.md", "jepa_two_halves.py"),
            "tests/test_jepa_two_halves.py",
        )
    }
    module = (tmp_path / "jepa-two-halves" / "jepa_two_halves.py").read_text()
    assert "class TwoHalvesMaskSampler(MaskSampler):" in module
    said = capsys.readouterr().out
    assert (
        "jepa train --config image/quickstart --output runs/two_halves 'masks=[two_halves]'" in said
    )


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_left_to_fill_in(kind, tmp_path):
    assert new_plugin("mine", kind, "--output", str(tmp_path / "deep" / "mine")) == 0
    for path in (tmp_path / "deep" / "mine").rglob("*"):
        text = path.read_text() if path.is_file() else ""
        assert not re.search(r"\{\{\w+\}\}|NotImplementedError|TODO", text), path
        assert all(len(line) <= 100 for line in text.splitlines()), path
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mine", "found 'Mine', allowed: letters a to z"),
        ("2d", "allowed: letters a to z"),
        ("my-mask", "allowed: letters a to z"),
        ("class", "no word of Python"),
        ("random", "the mask sampler 'random' exists already, built in"),
        ("../mine", "allowed: letters a to z"),
    ],
)
def test_names_that_cannot_be(name, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert new_plugin(name, "mask_sampler") == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_name_of_another_package(packages, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    packages.add("theirs", {"jepa.encoders": {"cnn": "theirs:Cnn"}}, version="2.0")
    assert new_plugin("cnn", "encoder") == 2
    said = capsys.readouterr().err
    assert "the encoder 'cnn' exists already, of theirs 2.0" in said
    assert new_plugin("cnn", "tokenizer") == 0, "a name is free in every other kind"


def test_a_folder_that_exists_stays_as_it_is(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    assert new_plugin("mine", "encoder", "--output", str(tmp_path / "mine")) == 2
    assert "which exists; allowed: a folder that does not" in capsys.readouterr().err
    assert [p.name for p in tmp_path.rglob("*")] == ["mine"]


def test_nothing_half_written_stays(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert new_plugin("mine", "encoder", "--output", str(tmp_path / "mine")) == 1
    assert not list(tmp_path.iterdir())


# --- packages of every kind ---------------------------------------------------------------------


class Site(NamedTuple):
    """Written packages, a folder each, and the folder where pip installed all of them."""

    sources: Path
    installed: Path

    def python(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(self.installed), "OMP_NUM_THREADS": "1"},
            cwd=cwd or self.sources,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def named(kind: str) -> str:
    return f"my_{kind}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("plugins")
    site = Site(folder / "sources", folder / "site")
    for kind in KINDS:
        assert new_plugin(named(kind), kind, "--output", str(site.sources / kind)) == 0
    # pip builds in the source folders.
    built = shutil.copytree(site.sources, folder / "built")
    site.python(*PIP, "--target", str(site.installed), *(str(built / kind) for kind in KINDS))
    return site


@pytest.mark.slow
def test_every_kind_installs_and_is_listed(site):
    table = site.python("jepa", "plugins", "--check")
    rows = [line.split() for line in table.splitlines() if "jepa-my-" in line]
    assert sorted((row[0], row[1], row[4]) for row in rows) == sorted(
        (kind, named(kind), "ok") for kind in KINDS
    )


@pytest.mark.slow
def test_every_kind_passes_its_own_tests(site):
    """All of them by one pytest, as each package's README says, but for what takes long."""
    tests = [str(site.sources / kind / "tests") for kind in KINDS]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-m", "not slow"]
    options += ["-c", str(site.sources / "encoder" / "pyproject.toml"), "--rootdir", "."]
    said = site.python("pytest", *options, *tests)
    assert re.search(r"^\d{3} passed", said, re.MULTILINE), said


def train(site: Site, folder: Path, kind: str) -> None:
    """The commands of a package's README, cut to two steps."""
    readme = (site.sources / kind / "README.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
    lines = [line for line in block.splitlines() if line.startswith(("jepa", "python make"))]
    assert lines == [line.replace("{{name}}", named(kind)) for line in COMMANDS[kind].splitlines()]
    for line in lines:
        words = shlex.split(line)
        if words[0] == "python":
            subprocess.run([sys.executable, *words[1:]], cwd=folder, check=True)
            continue
        more = shlex.split(TINY) if words[1] == "train" else []
        if kind == "observer":
            more = [word for word in more if not word.startswith("observers")]
        more += ["--train-samples", "40", "--test-samples", "20"] if words[1] == "eval" else []
        site.python(*words, *more, cwd=folder)
    assert (folder / "runs" / named(kind) / "COMPLETED").exists()


@pytest.mark.slow
def test_a_modality_trains_as_its_readme_says(site, tmp_path):
    for name in ("make_samples.py", "quickstart.yaml"):
        (tmp_path / name).write_text((site.sources / "modality" / name).read_text())
    train(site, tmp_path, "modality")


# --- the page ---------------------------------------------------------------------------------

PAGE = Path(jepa.__file__).parents[1] / "docs" / "plugins.md"

RUN = """
import shlex, sys, pytest
from jepa import cli
for line in sys.stdin.read().splitlines():
    words = shlex.split(line)
    code = cli.main(words[1:]) if words[0] == "jepa" else pytest.main(words[3:])
    if code != 0:
        sys.exit(f"{line}: {code}")
"""
"""All commands in one process, since importing torch is most of what each would take."""


def page_lines() -> list[str]:
    """The commands from nothing to a trained model."""
    part = PAGE.read_text("utf-8").split("## What a part is")[0]
    blocks = re.findall(r"^```bash\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not PAGE.is_file(), reason="docs are in a checkout, not in a wheel")
def test_the_page_leads_from_nothing_to_a_trained_model(tmp_path, monkeypatch):
    first, install, *others = page_lines()
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(first)[1:]) == 0
    assert install == "pip install -e ./jepa-two-halves"
    site = Site(tmp_path, tmp_path / "site")
    site.python(*PIP, "--target", str(site.installed), "./jepa-two-halves")
    more = {"train": TINY, "report": "--train-samples 40 --test-samples 20", "masks": "--batches 5"}
    more["jepa-two-halves"] = "-q -p no:cacheprovider"
    told = [
        f"{line} {more.get(line.split()[-1], more.get(line.split()[1], ''))}" for line in others
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(told),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site.installed), "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"two_halves +jepa-two-halves +0.1 +ok", done.stdout)
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
    assert (tmp_path / "masks.png").exists()
    assert (tmp_path / "runs" / "two_halves" / "report" / "pca.png").exists()
