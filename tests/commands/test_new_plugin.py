"""`jepa new-plugin`: what it refuses, and packages of every kind that work as they stand."""

from __future__ import annotations

import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import jepa
from jepa import cli
from jepa.commands.new_plugin_texts import COMMANDS
from jepa.core.errors import DecodeError
from jepa.core.kinds import KINDS

TINY = (
    "train.max_steps=2 train.global_batch=8 train.device=cpu data.workers=0 "
    "'observers=[{name: jsonl}]'"
)


PIP = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
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
        ("class", "no word of Python or YAML"),
        ("null", "no word of Python or YAML"),
        ("true", "no word of Python or YAML"),
        ("false", "no word of Python or YAML"),
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


def test_a_package_that_is_installed_is_not_displaced(packages, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    packages.add("jepa-wave-net", {"jepa.encoders": {"wave_net": "theirs:Net"}}, version="2.0")
    assert new_plugin("wave_net", "tokenizer", "--output", "mine") == 2
    said = capsys.readouterr().err
    assert "would be called jepa-wave-net, and jepa-wave-net 2.0 is installed" in said
    assert not (tmp_path / "mine").exists()


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


def test_a_new_modality_refuses_a_damaged_archive(tmp_path, monkeypatch):
    assert new_plugin("waves", "modality", "--output", str(tmp_path / "waves")) == 0
    monkeypatch.syspath_prepend(tmp_path / "waves")
    cls = importlib.import_module("jepa_waves").WavesModality
    file = io.BytesIO()
    np.savez_compressed(file, x=np.arange(3000.0))
    cls(cls.Config()).eval_input(file.getvalue())
    broken = file.getvalue()[:200] + b"\xff" * 300 + file.getvalue()[500:]
    with pytest.raises(DecodeError, match="no array can be read"):
        cls(cls.Config()).eval_input(broken)


# --- packages of every kind ---------------------------------------------------------------------


class Site(NamedTuple):
    """Written packages, a folder each, and the folder where pip installed all of them."""

    sources: Path
    installed: Path

    def python(self, *arguments: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
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
    table = site.python("-m", "jepa", "plugins", "--check")
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
    said = site.python("-m", "pytest", *options, *tests)
    assert re.search(r"^\d{3} passed", said, re.MULTILINE), said


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


def in_one_process(site: Site, lines: list[str], folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site.installed), "OMP_NUM_THREADS": "1"},
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def told(site: Site, kind: str) -> list[str]:
    """The commands of a package's README behind its tests, cut to two steps."""
    readme = (site.sources / kind / "README.md").read_text()
    (block,) = re.findall(r"```bash\n(.*?)```", readme, re.DOTALL)
    lines = block.splitlines()
    assert lines[:2] == ["pip install .", "python -m pytest"]
    assert "\n".join(lines[2:]) == COMMANDS[kind].replace("{{name}}", named(kind))
    tiny = TINY.partition(" 'observers")[0] if kind == "observer" else TINY
    more = {"train": tiny, "eval": "--train-samples 40 --test-samples 20"}
    return [f"{line} {more.get(line.split()[1], '')}" for line in lines[2:]]


SLOW = """
from jepa.testing import conformance

def test_slow_promises():
    checks = conformance("regularizer", "my_regularizer").checks
    (check,) = [check for check in checks if check.name == "distributed"]
    check()
"""
"""The one that a template may well break: all of them take a minute, most of it in torch."""


@pytest.mark.slow
def test_every_kind_trains_as_its_readme_says(site, tmp_path):
    """And what takes long of their own tests is tried, once, in the same process."""
    for name in ("make_samples.py", "quickstart.yaml"):
        (tmp_path / name).write_text((site.sources / "modality" / name).read_text())
    (tmp_path / "test_slow.py").write_text(SLOW)
    lines = [line for kind in KINDS for line in told(site, kind)]
    (samples,) = [line for line in lines if line.startswith("python ")]
    subprocess.run([sys.executable, *samples.split()[1:]], cwd=tmp_path, check=True)
    lines.remove(samples)
    said = in_one_process(site, [*lines, "python -m pytest -p no:cacheprovider -q ."], tmp_path)
    assert re.search(r"^1 passed", said, re.MULTILINE), said
    for kind in KINDS:
        run = tmp_path / "runs" / named(kind)
        assert (run / "COMPLETED").exists()
        (checkpoint,) = (run / "checkpoints").iterdir()
        used = (checkpoint / "packages.json").read_text()
        # What evaluates a run is no part of it.
        assert (f'"{named(kind)}"' in used) == (kind != "protocol"), kind
    for kind in ("modality", "protocol"):
        assert list((tmp_path / "runs" / named(kind) / "eval").glob("*.json"))


# --- the page ---------------------------------------------------------------------------------

PAGE = Path(jepa.__file__).parents[1] / "docs" / "plugins.md"


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
    cut = [f"{line} {more.get(line.split()[-1], more.get(line.split()[1], ''))}" for line in others]
    said = in_one_process(site, cut, tmp_path)
    assert re.search(r"two_halves +jepa-two-halves +0.1 +ok", said)
    assert re.search(r"^\d+ passed", said, re.MULTILINE)
    assert (tmp_path / "masks.png").exists()
    assert (tmp_path / "runs" / "two_halves" / "report" / "pca.png").exists()
