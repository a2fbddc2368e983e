"""Numbers that are measured once a data set: when, where they are kept, and who gets them."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sounds import sine

from jepa.ablation.checks import check_folder
from jepa.core.config import RunConfig, load_run, parse_yaml
from jepa.core.data.opening import open_source
from jepa.core.errors import DataError
from jepa.core.training import measuring, session
from jepa.core.training.checkpoint import newest_valid
from jepa.core.training.distributed import World
from jepa.core.training.trained import load_backbone
from jepa.modalities.audio import AudioModality
from jepa.modalities.audio.measure import mean_and_std

sys.path.append(str(Path(__file__).parents[2] / "core" / "training"))
from tiny_run import Starter, starter

ALONE = World(0, 1, torch.device("cpu"))
TINY = [
    "modality.duration=0.2",
    "modality.mel={bins: 16, window: 200, hop: 80, fft: 256}",
    "modality.normalise=data",
    "model.dim=16",
    "model.tokenizer.size=[4, 4]",
    "model.target.layers=1",
    "model.regularizers=[]",
    "masks=[{name: multiblock, min_keep: 4}]",
    "model.encoder={name: vit, depth: 1, heads: 2}",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "data.source=arrays",
    "data.split=null",
    "data.workers=0",
    "train={global_batch: 8, max_steps: 2, log_every: 1, device: cpu}",
    "checkpoint.every=1",
    "observers=[jsonl]",
]


@pytest.fixture
def settings(tmp_path):
    """Of runs on 40 sines in one array, with a cache of their own."""
    root = tmp_path / "sines.npy"
    rows = [sine(200.0 + 50 * i, 0.25, loud=0.1 + 0.02 * i) for i in range(40)]
    np.save(root, np.stack(rows).astype(np.float32))
    return [*TINY, f"data.root={root}", f"data.cache={tmp_path / 'cache'}"]


def config_of(settings, *more) -> RunConfig:
    return load_run("audio/quickstart", [*settings, *more])


def numbers(config: RunConfig) -> tuple[float | None, float | None]:
    return config.modality.config.mean, config.modality.config.std


def saved(run: Path) -> dict:
    newest, _ = newest_valid(run / "checkpoints")
    return parse_yaml((newest.path / "config.yaml").read_text(), "config")["modality"]


def test_they_are_mean_and_deviation_of_what_the_model_sees(settings):
    config = config_of(settings)
    source = open_source(config.data, AudioModality)
    mean, std = numbers(measuring.measured(config, source, ALONE))
    bare = AudioModality(config_of(settings, "modality.mean=0", "modality.std=1").modality.config)
    seen = bare.device_transform()(
        torch.stack([bare.eval_input(source.item(i).content) for i in range(40)])
    )
    assert mean == pytest.approx(seen.mean().item(), rel=1e-3)
    assert std == pytest.approx(seen.std().item(), rel=1e-3)
    fitted = AudioModality(measuring.measured(config, source, ALONE).modality.config)
    normal = fitted.device_transform()(
        torch.stack([fitted.eval_input(source.item(i).content) for i in range(40)])
    )
    assert abs(normal.mean().item()) < 1e-2
    assert normal.std().item() == pytest.approx(1, abs=1e-2)


def test_only_what_is_null_is_measured(settings):
    config = config_of(settings, "modality.std=3.5")
    source = open_source(config.data, AudioModality)
    assert measuring.unmeasured(config) == ("modality.mean",)
    mean, std = numbers(measuring.measured(config, source, ALONE))
    assert std == 3.5
    assert mean is not None
    both = config_of(settings, "modality.std=3.5", "modality.mean=1.0")
    assert measuring.measured(both, source, ALONE) is both
    by_clip = config_of(settings, "modality.normalise=clip")
    assert numbers(measuring.measured(by_clip, source, ALONE)) == (None, None)


def test_once_a_data_set_and_settings(settings, monkeypatch):
    config = config_of(settings)
    source = open_source(config.data, AudioModality)
    times = []

    def counted(*arguments):
        times.append(arguments)
        return mean_and_std(*arguments)

    monkeypatch.setattr("jepa.modalities.audio.modality.mean_and_std", counted)
    first = measuring.measured(config, source, ALONE)
    assert measuring.measured(config, source, ALONE) == first
    assert len(times) == 1
    (kept,) = (config.data.cache / "measured").iterdir()
    assert tuple(json.loads(kept.read_text()).values()) == numbers(first)
    measuring.measured(config_of(settings, "modality.mel.bins=12"), source, ALONE)
    assert len(times) == 2
    kept.write_text("{damaged")
    assert measuring.measured(config, source, ALONE) == first
    assert len(times) == 3
    other = np.load(config.data.root)[:20]
    np.save(config.data.root, other)
    measuring.measured(config, open_source(config.data, AudioModality), ALONE)
    assert len(times) == 4


def test_a_cache_that_cannot_be_written_is_done_without(settings, tmp_path):
    (tmp_path / "cache").write_text("a file stands here")
    config = config_of(settings)
    found = measuring.measured(config, open_source(config.data, AudioModality), ALONE)
    assert None not in numbers(found)


def test_a_run_holds_the_numbers_and_goes_on_with_them(settings, tmp_path):
    run, config = tmp_path / "run", config_of(settings)
    one_step = config_of(settings, "train.max_steps=1")
    assert session.train(one_step, run, ALONE) == "completed"
    wanted = numbers(session.prepare(config, ALONE).plan.config)
    held = saved(run)
    assert (held["mean"], held["std"]) == wanted
    # Without the cache they are measured anew, to the same numbers.
    shutil.rmtree(tmp_path / "cache")
    assert session.train(one_step, run, ALONE) == "completed"
    # What evaluates needs no training data.
    Path(config.data.root).unlink()
    frozen = load_backbone(run)
    assert numbers(frozen.config) == wanted
    assert frozen.modality.device_transform().scale == wanted


def test_a_sweep_takes_what_it_left_to_measure_for_no_difference(settings, tmp_path):
    run = tmp_path / "run"
    session.train(config_of(settings), run, ALONE)
    planned = config_of(settings)
    assert numbers(planned) == (None, None)
    assert check_folder(run, planned) == []
    (fault,) = check_folder(run, config_of(settings, "modality.mean=7.0"))
    assert "modality.mean" in str(fault)
    (fault,) = check_folder(run, config_of(settings, "modality.duration=0.24"))
    assert "modality.duration: 0.2 -> 0.24" in str(fault)


def test_samples_that_cannot_be_decoded_are_told(settings):
    config = config_of(settings)
    np.save(config.data.root, np.zeros((40, 2000), np.float32))
    with pytest.raises(DataError, match=r"none of 40 samples can be decoded.*silence"):
        session.prepare(config, ALONE)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with starter(tmp_path_factory.mktemp("logs")) as made:
        yield made


def test_two_processes_share_what_the_first_measured(processes: Starter, settings, tmp_path):
    run = tmp_path / "run"
    argv = ["train", "--config", "audio/quickstart", "--output", str(run), *settings]
    assert processes.codes(argv, 2) == [0, 0], processes.said()
    held = saved(run)
    assert (held["mean"], held["std"]) == numbers(
        session.prepare(config_of(settings), ALONE).plan.config
    )
