"""What is shipped: the wheel's data, the pinned versions, and no address of a registry."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import jepa

PACKAGE = Path(jepa.__file__).parent
ROOT = PACKAGE.parent

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="pyproject.toml is in a checkout alone"
)


def python(*arguments: str, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path)} if path else dict(os.environ)
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which our wheel was installed."""
    folder = tmp_path_factory.mktemp("wheel")
    # Building leaves files beside the sources, and the checkout stays as it is.
    source = folder / "source"
    shutil.copytree(PACKAGE, source / "jepa", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = ["-m", "pip", "--disable-pip-version-check", "--quiet"]
    python(*pip, "wheel", ".", "--no-deps", "--no-build-isolation", "-w", str(folder), cwd=source)
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    python(
        *pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel), cwd=folder
    )
    return site


def test_the_wheel_holds_every_file_of_the_package(installed):
    def names(folder: Path) -> set[str]:
        files = (p for p in folder.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        return {str(path.relative_to(folder)) for path in files}

    assert names(installed / "jepa") == names(PACKAGE)
    assert {
        "py.typed",
        "configs/image/quickstart.yaml",
        "modalities/image/embedded/fashion_mnist_10k.npz",
        "modalities/image/embedded/LICENSE-MIT.txt",
    } <= names(installed / "jepa")


def test_the_wheel_holds_the_licences(installed):
    (info,) = installed.glob("anyjepa-*.dist-info")
    texts = [path.read_text("utf-8") for path in (info / "licenses").rglob("LICENSE*")]
    assert any("Apache License" in text for text in texts)
    assert any("Zalando" in text for text in texts)


def test_the_installed_wheel_works(installed, tmp_path):
    where = python("-c", "import jepa; print(jepa.__file__)", cwd=tmp_path, path=installed)
    assert where.startswith(str(installed))
    assert "multiblock_official" in python("-m", "jepa", "plugins", cwd=tmp_path, path=installed)
    planned = ["-m", "jepa", "train", "--config", "image/quickstart", "--dry-run"]
    assert "8000 samples" in python(*planned, cwd=tmp_path, path=installed)


def test_the_constraints_pin_what_the_project_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    allowed = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    text = (ROOT / "constraints" / "ci.txt").read_text("utf-8")
    pins = [Requirement(line) for line in text.splitlines() if line and line[0] != "#"]
    assert {pin.name for pin in pins} == {"torch", "torchvision", "torchaudio"}
    for pin in pins:
        assert re.fullmatch(r"==[\d.]+", str(pin.specifier)), "one release, no local build"
        assert allowed[pin.name].contains(str(pin.specifier).removeprefix("=="))


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["version"] == jepa.__version__


def test_no_file_of_the_project_names_a_registry():
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "constraints").iterdir()]
    files += [ROOT / "Makefile", ROOT / ".ci" / "run", ROOT / "pyproject.toml"]
    for path in files:
        text = path.read_text("utf-8").lower()
        for word in ("pypi", "index-url", "find-links"):
            assert word not in text, f"{path.name} says {word}"
