"""Packages of strangers, as users meet them: the examples from pip to results, and faulty ones."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import jepa
from jepa import cli

EXAMPLES = Path(jepa.__file__).parents[1] / "examples"
REAL = EXAMPLES.parents[1] / "shared" / "data" / "signal-watch-imu" / "watch_imu.npz"
NAMES = ("jepa-imu", "jepa-spiral-masks")
PEOPLE = 4

PIP = ["pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-index"]
PIP += ["--no-build-isolation"]

CHECKOUT = pytest.mark.skipif(
    not EXAMPLES.is_dir(), reason="examples are in a checkout, not in a wheel"
)


class Site(NamedTuple):
    """A folder on the path that pip installed both examples into, and where to work."""

    installed: Path
    folder: Path

    def python(self, *arguments: str, stdin: str = "") -> str:
        own = {"PYTHONPATH": str(self.installed), "JEPA_CACHE": str(self.folder / "cache")}
        own |= {"WATCH_IMU": str(REAL)} if REAL.is_file() else {}
        done = subprocess.run(
            [sys.executable, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env={**os.environ, **own, "OMP_NUM_THREADS": "1"},
            cwd=self.folder,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("strangers")
    site = Site(folder / "site", folder)
    # pip builds in the source folder, and the checkout stays as it is.
    built = shutil.copytree(EXAMPLES, folder / "built")
    sources = [str(built / name) for name in NAMES]
    site.python("-m", *PIP, "--target", str(site.installed), *sources)
    write_watch(folder / "watch_imu.npz")
    return site


def write_watch(path: Path) -> None:
    """A file of the form of the real one: people who move up and down, or round and round."""
    draw = np.random.default_rng(0)
    t = np.arange(600)[:, None] / 50
    series = [
        np.sin(t * (1 + exercise) + draw.uniform(0, 6, size=6)) + 0.1 * draw.normal(size=(600, 6))
        for _ in range(PEOPLE)
        for exercise in range(2)
    ]
    np.savez(
        path,
        x=np.concatenate(series).astype(np.float16),
        offsets=600 * np.arange(len(series) + 1),
        y=np.tile([0, 1], PEOPLE),
        subject=np.repeat(1 + np.arange(PEOPLE), 2),
        classes=np.array(["UP", "ROUND"]),
        rate=np.array(50),
    )


RUN = """
import json, sys
from jepa import cli
for words in json.load(sys.stdin):
    code = cli.main(words)
    if code != 0:
        sys.exit(f"{words}: {code}")
"""
"""All commands in one process, since importing torch is most of what each would take."""

SMALL = [
    *("model.dim=24", "model.encoder.heads=2", "model.predictor.dim=16", "train.max_steps=2"),
    *("train.global_batch=8", "train.device=cpu", "data.workers=0", "observers=[{name: jsonl}]"),
]


@pytest.fixture(scope="module")
def trained(site: Site) -> Path:
    """The folder of a run of the stranger's modality on the stranger's source, evaluated."""
    own = ["data.root=watch_imu.npz", "data.source.held_out=[3, 4]"]
    config = str(EXAMPLES / "jepa-imu" / "watch.yaml")
    train = ["train", "--config", config, "--output", "run", *own, *SMALL]
    evaluate = ["eval", "run", "--protocol", "logistic", "--protocol", "knn"]
    masks = ["masks", "--config", config, "--output", "masks.png", *own, "--batches", "3"]
    site.python("-c", RUN, stdin=json.dumps([train, evaluate, masks]))
    return site.folder / "run"


@CHECKOUT
@pytest.mark.slow
def test_they_are_listed_and_sound(site):
    rows = {
        tuple(line.split()) for line in site.python("-m", "jepa", "plugins", "--check").splitlines()
    }
    assert ("modality", "imu", "jepa-imu", "0.1", "ok") in rows
    assert ("source", "watch_imu", "jepa-imu", "0.1", "ok") in rows
    assert ("mask_sampler", "spiral", "jepa-spiral-masks", "0.1", "ok") in rows


@CHECKOUT
@pytest.mark.slow
def test_their_own_tests_pass(site):
    options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib"]
    options += ["-c", str(site.folder / "built" / NAMES[1] / "pyproject.toml"), "--rootdir", "."]
    said = site.python(*options, *(str(site.folder / "built" / name / "tests") for name in NAMES))
    assert re.search(r"^\d{3} passed", said, re.MULTILINE), said
    assert ("skipped" in said) != REAL.is_file(), "the real file is looked at where it is"


@CHECKOUT
@pytest.mark.slow
def test_a_modality_trains_and_is_evaluated(trained):
    assert (trained / "COMPLETED").exists()
    (told,) = (trained / "eval").glob("*.json")
    found = {(row["protocol"], row["features"]) for row in json.loads(told.read_text())["rows"]}
    features = ("trained", "random init", "raw baseline")
    assert found == {(probe, each) for probe in ("logistic", "knn") for each in features}
    assert (trained.parent / "masks.png").exists()


@CHECKOUT
@pytest.mark.slow
def test_a_checkpoint_knows_its_packages_and_loads(site, trained):
    (checkpoint,) = (trained / "checkpoints").iterdir()
    parts = json.loads((checkpoint / "packages.json").read_text())["parts"]
    theirs = {(part["name"], part["package"], part["version"]) for part in parts}
    assert {("imu", "jepa-imu", "0.1"), ("watch_imu", "jepa-imu", "0.1")} <= theirs
    code = """
import jepa, numpy as np
encoder = jepa.load("run")
features = encoder(encoder.transform(np.ones((300, 6)))[None])
assert features.shape == (1, 24), features.shape
"""
    site.python("-c", code)


@CHECKOUT
@pytest.mark.slow
def test_a_sweep_with_a_sampler(site, tmp_path):
    """The example's file is sound as it stands; cut to one variant and two steps, it runs."""
    sweep = EXAMPLES / "jepa-spiral-masks" / "sweep.yaml"
    text = sweep.read_text().replace("{samples: 32000}", "{samples: 16}")
    cut = re.sub(r"    - \{name: multiblock.*\n|    - \{name: random.*\n", "", text)
    cut = re.sub(r"labels:.*\n|reference:.*\n", "", cut).replace("[0, 1]", "[0]")
    assert cut.count("name:") == 1
    (site.folder / "cut.yaml").write_text(cut + "evaluate: {train_samples: 40, test_samples: 20}\n")
    small = [*SMALL[:3], *SMALL[4:], "optim.warmup_epochs=0"]
    dry = ["ablate", "--config", str(sweep), "--output", str(tmp_path / "dry"), "--dry-run"]
    run = ["ablate", "--config", "cut.yaml", "--output", "sweep", *small]
    said = site.python("-c", RUN, stdin=json.dumps([dry, run]))
    assert all(f"runs/{label}/seed1" in said for label in ("multiblock", "spiral", "random")), said
    results = (site.folder / "sweep" / "results.md").read_text()
    assert re.search(r"^\| spiral ", results, re.MULTILINE), results
    assert not list((site.folder / "sweep").rglob("*.failed"))


# --- a package that is gone: this process never had it ------------------------------------------


@CHECKOUT
@pytest.mark.slow
@pytest.mark.parametrize("command", [["eval", "--protocol", "knn"], ["report"]])
def test_a_run_whose_package_is_gone(trained, capsys, command):
    name, *more = command
    assert cli.main([name, str(trained), *more]) == 2
    said = capsys.readouterr().err
    assert "no such modality: found 'imu', allowed: audio, image" in said
    assert "no such source: found 'watch_imu'" in said
    assert (
        "it was trained with the modality 'imu' of jepa-imu 0.1, the source 'watch_imu' of "
        "jepa-imu 0.1; install what is missing"
    ) in said


@CHECKOUT
@pytest.mark.slow
def test_a_config_whose_package_is_gone(tmp_path, capsys):
    config = str(EXAMPLES / "jepa-imu" / "watch.yaml")
    assert cli.main(["train", "--config", config, "--output", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "no such modality: found 'imu'" in said
    assert "is the package that has it installed?" in said
    assert not (tmp_path / "run").exists()


# --- faulty packages --------------------------------------------------------------------------

SAMPLER = """
import attrs
from jepa.core import Grid, MaskSampler, Masks, Rng
import torch

class Sampler(MaskSampler):
    @attrs.frozen(kw_only=True)
    class Config:
        size: int = 1

    def __init__(self, config, *, grid):
        self._size = grid.size

    def sample(self, batch_size, rng):
        order = rng.rows(self._size).argsort(dim=1).sort(dim=1).values
        return Masks(order[:, :9], order[:, None, 9:])
"""


def add(packages, package: str, name: str, text: str = SAMPLER, **more: object) -> None:
    packages.add(
        package, {"jepa.mask_samplers": {name: f"{package}:Sampler"}}, {package: text}, **more
    )


def dry_run(masks: str, tmp_path: Path, capsys) -> tuple[int, str]:
    """`jepa train` with these masks as far as the first step: exit code, and what it printed."""
    words = ["train", "--config", "image/quickstart", "--output", str(tmp_path / "run")]
    code = cli.main([*words, "--dry-run", "data.workers=0", f"masks=[{masks}]"])
    printed = capsys.readouterr()
    return code, printed.err if code else printed.out


def test_a_broken_package_hurts_when_it_is_named(packages, tmp_path, capsys):
    add(packages, "crashing", "wave", "import no_such_library")
    code, said = dry_run("random", tmp_path, capsys)
    assert code == 0, said
    code, said = dry_run("wave", tmp_path, capsys)
    assert code == 2
    assert said.startswith("jepa: ")
    assert "masks.0: mask sampler 'wave' of crashing 1.0: importing crashing:Sampler" in said
    assert "ModuleNotFoundError: No module named 'no_such_library'" in said
    assert "Traceback" not in said


def test_settings_that_python_cannot_read_hurt_when_they_are_named(packages, tmp_path, capsys):
    text = "from __future__ import annotations\nimport numpy as np\n"
    add(packages, "odd", "wave", text + SAMPLER.replace("size: int = 1", "size: np.NoSuch = 1"))
    code, said = dry_run("wave", tmp_path, capsys)
    assert code == 2
    assert "masks.0: mask sampler 'wave' of odd 1.0: the annotations of Sampler.Config" in said
    assert "Traceback" not in said
    assert cli.main(["plugins", "--check"]) == 1
    said = capsys.readouterr().out
    assert re.search(r"mask_sampler +wave +odd +1\.0 +broken", said)
    assert re.search(r"mask_sampler +random +anyjepa +\S+ +ok", said)


def test_two_packages_that_claim_a_name(packages, tmp_path, capsys):
    add(packages, "one", "wave", version="1.5")
    add(packages, "two", "wave", "1 / 0")
    code, said = dry_run("wave", tmp_path, capsys)
    assert code == 2
    assert "2 packages claim the mask sampler 'wave': name 'one:wave' (version 1.5) or" in said
    assert "'two:wave' (version 1.0)" in said
    code, said = dry_run('"one:wave"', tmp_path, capsys)
    assert code == 0, said


def test_a_name_of_ours_stays_ours(packages, tmp_path, capsys):
    add(packages, "greedy", "random", "1 / 0")
    code, said = dry_run("random", tmp_path, capsys)
    assert code == 0, said
    code, said = dry_run('"greedy:random"', tmp_path, capsys)
    assert code == 2
    assert "ZeroDivisionError" in said


def test_a_package_for_another_version_of_ours(packages, tmp_path, capsys):
    add(packages, "future", "wave", requires=["anyjepa>=99"])
    code, said = dry_run("wave", tmp_path, capsys)
    assert code == 2
    assert "mask sampler 'wave' of future 1.0: it requires anyjepa>=99, but anyjepa is" in said


def test_a_malformed_package_that_has_nothing_to_do_with_us(packages, tmp_path, capsys):
    add(packages, "innocent", "wave")
    packages.add("culprit", "no header = x:y\n")
    with pytest.warns(UserWarning, match="'culprit' cannot be read.*reinstall or remove it"):
        assert cli.main(["plugins"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"mask_sampler +wave +innocent +1\.0", said)
    assert "culprit" not in said
    code, said = dry_run("wave", tmp_path, capsys)
    assert code == 0, said
