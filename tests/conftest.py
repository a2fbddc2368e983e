"""Fixtures that several folders of tests share."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from jepa.core import registry

STRIPES = Path(__file__).parent / "thirdparty" / "stripes"


@pytest.fixture(scope="session")
def third_party_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH where pip installed a stranger's mask sampler, `stripes`."""
    folder = tmp_path_factory.mktemp("third_party")
    # pip builds in the source folder, and the checkout stays as it is.
    source = shutil.copytree(STRIPES, folder / "source")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-build-isolation", "--no-index"]
    command += ["--target", str(folder / "site"), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: what begins last should not take long."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _flops_are_counted_once() -> Iterator[None]:
    """Most runs here are one tiny model's, and counting its FLOPs takes longer than to train it."""
    from jepa.core.parts import parts
    from jepa.core.training import session

    count, counted = session._utilisation_per_rate, {}

    def count_once(config, world, bf16):
        what = (config.modality, config.model, config.masks, config.train.global_batch)
        if not all(part.plugin.builtin for part in parts(config)):
            return count(config, world, bf16)
        key = (*what, config.train.seed, world.size, world.device, bf16)
        if key not in counted:
            counted[key] = count(config, world, bf16)
        return counted[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "_utilisation_per_rate", count_once)
        yield


class Packages:
    """Writes packages as an installer leaves them, into a folder of the path."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def add(
        self,
        name: str,
        entry_points: Mapping[str, Mapping[str, str]] | str | bytes,
        modules: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Sequence[str] = (),
        folder: str | None = None,
    ) -> Path:
        """Install `name` with modules by name and entry points by group; give its dist-info."""
        info = self.site / (folder or f"{name.replace('-', '_')}-{version}.dist-info")
        info.mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
        (info / ("PKG-INFO" if info.suffix == ".egg-info" else "METADATA")).write_text(metadata)
        if isinstance(entry_points, Mapping):
            entry_points = "\n".join(
                f"[{group}]\n" + "".join(f"{key} = {target}\n" for key, target in named.items())
                for group, named in entry_points.items()
            )
        data = entry_points.encode() if isinstance(entry_points, str) else entry_points
        (info / "entry_points.txt").write_bytes(data)
        for module, text in (modules or {}).items():
            (self.site / f"{module}.py").write_text(text)
        registry.plugins.cache_clear()
        return info


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Installs throwaway packages for one test, in this process."""
    site = tmp_path / "site"
    site.mkdir()
    before = set(sys.modules)
    monkeypatch.syspath_prepend(site)
    registry.plugins.cache_clear()
    yield Packages(site)
    registry.plugins.cache_clear()
    for module in set(sys.modules) - before:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(site)):
            del sys.modules[module]
