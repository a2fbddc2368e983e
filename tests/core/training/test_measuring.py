"""What a stranger's modality measures: any kind of number, and anew when the code changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import attrs
import pytest
import torch

from jepa.core import registry
from jepa.core.config import RunConfig
from jepa.core.data.source import Place
from jepa.core.errors import ConfigError
from jepa.core.parts import Part
from jepa.core.training import measuring
from jepa.core.training.distributed import World
from jepa.testing.toys import NoConfig, ToySource, toy_config

ALONE = World(0, 1, torch.device("cpu"))
MODALITY = """
import attrs
import numpy as np
import torch
from jepa.testing.toys import ToyModality

class Signals(ToyModality):
    measures = ("mean", "std")

    @attrs.frozen(kw_only=True)
    class Config:
        mean: float | None = None
        std: tuple[float, ...] | None = None

    @classmethod
    def fit(cls, config, source):
        values = np.stack([source.item(place).content for place in range(len(source))])
        return attrs.evolve(config, mean=MEAN, std=STD)
"""
MEAN, STD = "values.mean()", "tuple(values.std((0, 2)))"


def modality(mean: str = MEAN, std: str = STD) -> str:
    return MODALITY.replace("MEAN", mean).replace("STD", std)


def stranger(packages, text: str, target: str = "signals") -> None:
    entry = {"jepa.modalities": {"signals": f"{target}:Signals"}}
    packages.add("signals", entry, {target.replace(".", "/"): text})


def edit(packages, text: str, module: str = "signals") -> None:
    """Change a module that was imported; another length, for the cache of Python's compiler."""
    (packages.site / f"{module.replace('.', '/')}.py").write_text(text)
    for name in [name for name in sys.modules if name.partition(".")[0] == "signals"]:
        del sys.modules[name]


def config_of(tmp_path: Path) -> RunConfig:
    config = toy_config()
    plugin = registry.find("modality", "signals")
    part = Part("modality", "signals", registry.load(plugin).Config(), plugin)
    data = attrs.evolve(config.data, cache=tmp_path / "cache")
    return attrs.evolve(config, modality=part, data=data)


def measured(config: RunConfig):
    place = Place(root=None, split="train", extensions=frozenset(), cache=Path("/nowhere"))
    return measuring.measured(config, ToySource(NoConfig(), place), ALONE).modality.config


@pytest.mark.parametrize("mean", [MEAN, "np.float32(values.mean())", "float(values.mean())"])
@pytest.mark.parametrize("std", [STD, "values.std((0, 2))", "values.std((0, 2)).tolist()"])
def test_numbers_may_be_those_of_numpy(packages, tmp_path, mean, std):
    stranger(packages, modality(mean, std))
    first = measured(config_of(tmp_path))
    assert type(first.mean) is float
    assert [type(value) for value in first.std] == [float, float]
    (kept,) = (tmp_path / "cache" / "measured").iterdir()
    assert json.loads(kept.read_text()) == {"mean": first.mean, "std": list(first.std)}
    assert measured(config_of(tmp_path)) == first


@pytest.mark.parametrize(
    ("mean", "said"),
    [
        ("torch.ones(())", r"mean: found tensor\(1\.\), allowed: a number"),
        ("values.mean() * np.nan", "mean: found nan, allowed: a finite number"),
        ("values.mean((0, 2))", r"mean: found \[.*\], allowed: a number"),
    ],
)
def test_what_no_setting_can_be_is_told_and_not_kept(packages, tmp_path, mean, said):
    stranger(packages, modality(mean))
    with pytest.raises(ConfigError, match=f"what the modality signals measured: {said}"):
        measured(config_of(tmp_path))
    assert not (tmp_path / "cache").exists()


def test_other_code_measures_anew(packages, tmp_path):
    stranger(packages, modality("1.0"))
    assert measured(config_of(tmp_path)).mean == 1.0
    edit(packages, modality("1.0 + 1.0"))
    assert measured(config_of(tmp_path)).mean == 2.0
    edit(packages, modality("1.0"))
    assert measured(config_of(tmp_path)).mean == 1.0
    assert len(list((tmp_path / "cache" / "measured").iterdir())) == 2


def test_code_beside_the_class_counts_and_other_packages_do_not(packages, tmp_path):
    (packages.site / "signals").mkdir()
    (packages.site / "signals" / "__init__.py").touch()
    (packages.site / "signals" / "level.py").write_text("LEVEL = 1.0")
    text = modality("LEVEL").replace(
        "import attrs", "import attrs\nfrom signals.level import LEVEL"
    )
    stranger(packages, text, "signals.modality")
    assert measured(config_of(tmp_path)).mean == 1.0
    edit(packages, "LEVEL = 1.0 + 1.0", "signals.level")
    assert measured(config_of(tmp_path)).mean == 2.0
    (packages.site / "other.py").touch()
    assert measured(config_of(tmp_path)).mean == 2.0
    assert len(list((tmp_path / "cache" / "measured").iterdir())) == 2


def test_another_version_measures_anew(packages, tmp_path):
    stranger(packages, modality())
    config = config_of(tmp_path)
    newer = attrs.evolve(config.modality.plugin, version="1.1")
    for plugin in (config.modality.plugin, newer, newer):
        measured(attrs.evolve(config, modality=attrs.evolve(config.modality, plugin=plugin)))
    assert len(list((tmp_path / "cache" / "measured").iterdir())) == 2
