"""The commands of a run: what a user would type to train and to measure it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jepa.ablation.settings import AblationConfig, EvaluateConfig
from jepa.ablation.variants import override
from jepa.core.config import RunConfig
from jepa.core.errors import ConfigError
from jepa.core.parts import Part, plain
from jepa.core.settings import ProtocolPart, structure


def train_command(
    config: AblationConfig, run: RunConfig, folder: Path, texts: Sequence[str]
) -> tuple[str, ...]:
    """Arguments after `jepa` that train a run.

    Args:
        config: of the sweep.
        run: the run's config.
        folder: of the run.
        texts: `key=value` of its variant.
    """
    processes = () if config.nproc is None else ("--nproc", str(config.nproc))
    length = ("train.epochs=null", f"train.max_steps={run.train.max_steps}")
    return (
        *("train", "--config", config.base, "--output", str(folder), *processes),
        *(*texts, *length, f"train.seed={run.train.seed}"),
    )


def eval_command(
    run: RunConfig,
    folder: Path,
    protocols: Sequence[Part],
    measured: EvaluateConfig,
    *,
    baselines: bool,
) -> tuple[str, ...]:
    """Arguments after `jepa` that measure a trained run.

    Args:
        run: the run's config.
        folder: of the run.
        protocols: one or more.
        measured: the samples.
        baselines: whether random init and raw content are measured too.
    """
    words = ["eval", str(folder)]
    for part in protocols:
        words += ["--protocol", part.name]
    for option, source in (("--train", measured.train), ("--test", measured.test)):
        words += [option, source] if source is not None else []
    words += ["--train-samples", str(measured.train_samples)]
    words += ["--test-samples", str(measured.test_samples)]
    words += [] if baselines else ["--trained-only"]
    if run.data.root is not None:
        words.append(f"data.root={run.data.root}")
    one = len(protocols) == 1
    for part in protocols:
        words += [text if one else f"{part.name}.{text}" for text in _settings(part)]
    return tuple(words)


def _settings(part: Part) -> list[str]:
    """What a part's settings differ in from its defaults, as `key=value`."""
    try:
        usual = plain(structure({"name": part.name}, ProtocolPart).config)
    except ConfigError:  # it has settings without a default
        usual = {}
    found = plain(part.config)
    return [override(key, value) for key, value in found.items() if usual.get(key, ...) != value]
