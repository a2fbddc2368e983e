"""What is met in the samples before the first run, and scores on other samples than these."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import fake_jepa
import pytest
from fake_jepa import TINY
from PIL import Image

from jepa import cli
from jepa.ablation.outcome import read_outcome
from jepa.ablation.plan import Sweep, plan
from jepa.ablation.settings import AblationConfig
from jepa.ablation.sources import with_samples
from jepa.core.config import load_run
from jepa.core.errors import ConfigError, DataError
from jepa.core.settings import structure
from jepa.core.training import distributed, session
from jepa.modalities.image.embedded import FashionMnist
from jepa.plugins.masks.random_tokens import RandomTokens


def planned(folder: Path, *overrides: str, **more: object) -> Sweep:
    given = {
        "base": "image/quickstart",
        "vary": {"optim.lr": [1e-3, 2e-3]},
        "budget": {"steps": 1},
        **more,
    }
    return plan(structure(given, AblationConfig, "sweep"), folder, [*TINY, *overrides])


def faults(folder: Path, *overrides: str, **more: object) -> dict[str, str]:
    """What is refused, by its place."""
    with pytest.raises(ConfigError) as caught:
        with_samples(planned(folder, *overrides, **more))
    return {fault.path: fault.message for fault in caught.value.faults}


def pictures(root: Path, number: int, splits: tuple[str, ...] = ("train", "test")) -> list[str]:
    """Samples of two classes, and what names them."""
    for split in splits:
        for label in "ab":
            folder = root / split / label
            folder.mkdir(parents=True)
            for place in range(number):
                Image.new("L", (28, 28), place).save(folder / f"{place}.png")
    return ["data.source=class_folders", "data.split=train", f"data.root={root}"]


# --- refused before the first run ----------------------------------------------------------------


def test_a_warm_up_longer_than_the_budget(tmp_path):
    found = faults(tmp_path, vary={"optim.warmup_epochs": [0, 0.1]}, budget={"steps": 100})
    assert found.keys() == {"vary.optim.warmup_epochs[1]"}
    assert "found 0.1 epochs, 100 steps, allowed: less than" in found["vary.optim.warmup_epochs[1]"]
    assert "optim.warmup_epochs=1" in next(iter(faults(tmp_path, "optim.warmup_epochs=1")))


def test_samples_that_are_not_there_or_too_few(tmp_path):
    found = faults(tmp_path, "data.source=class_folders", f"data.root={tmp_path}/none")
    assert f"{tmp_path}/none" in found["base image/quickstart"]
    few = pictures(tmp_path / "few", 2)
    assert "4 samples" in str(faults(tmp_path, *few))


def test_what_nothing_can_be_measured_on(tmp_path):
    found = faults(tmp_path, evaluate={"train": "nosuchsplit", "test": "nosuchtoo"})
    assert "found 'nosuchsplit', which is no file or folder" in found["evaluate.train"]
    assert "found 'nosuchtoo'" in found["evaluate.test"]
    found = faults(tmp_path, evaluate={"test": "nosuchsplit"})
    assert found.keys() == {"evaluate.test"}
    # A folder without labels, and one of other classes.
    pictures(tmp_path / "other", 8)
    (tmp_path / "plain").mkdir()
    Image.new("L", (28, 28)).save(tmp_path / "plain" / "a.png")
    assert faults(tmp_path, evaluate={"train": str(tmp_path / "plain")}).keys() == {
        "evaluate.train"
    }
    found = faults(tmp_path, evaluate={"train": str(tmp_path / "other" / "train")})
    assert "different classes" in found["evaluate"]


def test_a_protocol_that_refuses_its_settings(tmp_path, monkeypatch):
    from jepa.evaluation.knn import Knn

    def refuse(self, config):
        raise DataError("k is odd")

    monkeypatch.setattr(Knn, "__init__", refuse)
    assert faults(tmp_path) == {"measure.0": "k is odd"}


def test_a_stranger_s_source_is_told_in_words(tmp_path, monkeypatch):
    def break_down(self):
        raise KeyError("its own")

    monkeypatch.setattr(FashionMnist, "fingerprint", break_down)
    assert faults(tmp_path) == {"base image/quickstart": "KeyError: 'its own'"}


def test_a_dry_run_needs_the_samples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["ablate", "--config", "ablations/trim", "--dry-run", "data.root=nowhere"]
    assert cli.main(command) == 2
    assert "no such file or folder" in capsys.readouterr().err


# --- other samples than those of the runs --------------------------------------------------------


def test_a_run_on_other_samples_is_refused_and_moved_ones_are_not(tmp_path):
    old, new = pictures(tmp_path / "old", 8), pictures(tmp_path / "new", 9)
    sweep = with_samples(planned(tmp_path / "out", *old))
    run = sweep.runs[0]
    session.train(run.config, run.folder, distributed.start("cpu"))
    assert load_run("image/quickstart", run.train_command[5:]) == run.config
    found = faults(tmp_path / "out", *new)
    assert found.keys() == {str(run.folder)}
    assert "holds a run on other samples (step 1, 16 samples)" in found[str(run.folder)]
    (tmp_path / "old").rename(tmp_path / "moved")
    moved = [*old[:2], f"data.root={tmp_path / 'moved'}"]
    with_samples(planned(tmp_path / "out", *moved))


def test_scores_on_other_samples_are_no_scores_of_these(tmp_path):
    sweep = with_samples(planned(tmp_path, measure=["knn"]))
    run = sweep.runs[0]
    (run.folder / "eval").mkdir(parents=True)
    (run.folder / "COMPLETED").touch()
    told = fake_jepa.answer(run)
    (run.folder / "eval" / "knn.json").write_text(json.dumps(told))
    assert read_outcome(run).status == "done"
    for split in ("train", "test"):
        other = attrs.evolve(run, samples=attrs.evolve(run.samples, **{split: "other"}))
        assert read_outcome(other).reason == "trained, not measured yet by knn"


# --- parts of strangers that break ---------------------------------------------------------------


def test_a_sampler_that_breaks_fails_its_own_run_alone(tmp_path, monkeypatch, capsys):
    def break_down(self, batch_size, rng):
        return 1 / 0

    monkeypatch.setattr(RandomTokens, "sample", break_down)
    monkeypatch.chdir(tmp_path)
    fake_jepa.install(tmp_path)
    masks = [{"name": "multiblock", "min_keep": 4}, "random"]
    sweep = with_samples(planned(Path("out"), vary={"masks.0": masks}, measure=["knn"]))
    fake_jepa.prepare_answers(tmp_path, sweep)
    given = {"base": "image/quickstart", "vary": {"masks.0": masks}, "labels": ["a", "crashes"]}
    given |= {"budget": {"steps": 1}, "measure": ["knn"], "overrides": TINY}
    Path("sweep.yaml").write_text(json.dumps(given))
    monkeypatch.setattr("jepa.ablation.masks_sheet._STEPS", 3)
    answers = json.loads(Path("answers.json").read_text())
    answers["out/runs/a/seed0"] = answers["out/runs/multiblock/seed0"]
    Path("answers.json").write_text(json.dumps(answers))
    command = ["ablate", "--config", "sweep.yaml", "--output", "out"]
    assert cli.main([*command, "--dry-run"]) == 0
    assert "unknown" in capsys.readouterr().out
    assert not Path("out").exists()
    assert cli.main(command) == 1
    said = capsys.readouterr()
    assert "a/seed0 done after" in said.out
    assert "crashes/seed0: RuntimeError: out of luck" in said.err
    assert "ZeroDivisionError: division by zero" in Path("out/report.html").read_text()
