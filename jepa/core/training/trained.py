"""From a training folder or a checkpoint to the backbone that was trained."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from jepa.core import registry
from jepa.core.build import make_backbone, make_modality
from jepa.core.config import RunConfig, apply_overrides, parse_yaml
from jepa.core.errors import CheckpointError, ConfigError, Fault
from jepa.core.interfaces import no_grad_eval
from jepa.core.kinds import KINDS
from jepa.core.modality import Modality
from jepa.core.model import Backbone
from jepa.core.settings import structure
from jepa.core.training.checkpoint import Checkpoint, newest_valid, read_document, verify
from jepa.core.training.resume import CONFIG_DOCUMENT
from jepa.core.training.state import PACKAGES_DOCUMENT
from jepa.core.training.tensorfile import load_into, read_tensors

_ONLINE = "backbone."


class Frozen(NamedTuple):
    """A trained backbone in evaluation mode, with what belongs to it."""

    backbone: Backbone
    modality: Modality
    config: RunConfig


def find_checkpoint(path: Path) -> Checkpoint:
    """The newest valid checkpoint of a training folder, or the checkpoint that `path` is.

    Raises:
        CheckpointError: there is none, or the one named is damaged.
    """
    path = path.resolve()
    if (path / CONFIG_DOCUMENT).is_file() and path.name.startswith("step_"):
        wrong = verify(path)
        if wrong:
            raise CheckpointError(f"checkpoint {path} is damaged: {'; '.join(wrong)}")
        return Checkpoint(path, int(path.name.removeprefix("step_")))
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such folder; allowed: a training folder or a checkpoint")
    newest, _ = newest_valid(path / "checkpoints")
    if newest is None:
        raise CheckpointError(
            f"{path}: no checkpoint in it; allowed: a folder that `jepa train` wrote to, or one of "
            "its checkpoints (checkpoints/step_...)"
        )
    return newest


def read_config(checkpoint: Checkpoint, overrides: Sequence[str] = ()) -> RunConfig:
    """The config that a checkpoint was trained with, less what watched the run.

    Observers say nothing of the network, so that one which is no longer installed is no hindrance.

    Args:
        checkpoint: of the run.
        overrides: `data.key=value` texts, since samples may have moved.

    Raises:
        ConfigError: it names parts that are not installed, or settings they do not know; or an
            override is not of the data.
    """
    strange = [text for text in overrides if not text.startswith("data.")]
    if strange:
        raise ConfigError(f"found {strange[0]}, allowed for a trained run: data.key=value")
    where = str(checkpoint.path / CONFIG_DOCUMENT)
    raw = parse_yaml(read_document(checkpoint, CONFIG_DOCUMENT), where)
    if isinstance(raw, Mapping):
        raw = {**raw, "observers": []}
    if overrides and isinstance(raw, Mapping):
        raw, where = apply_overrides(raw, overrides), f"{where} and key=value"
    try:
        return structure(raw, RunConfig, where)
    except ConfigError as error:
        raise ConfigError([*error.faults, *_uninstalled(checkpoint)], where) from error


def _uninstalled(checkpoint: Checkpoint) -> list[Fault]:
    """What the run had of packages that are not installed: a fault that names them, or none."""
    there = {plugin.package for plugin in registry.plugins()}
    recorded = json.loads(read_document(checkpoint, PACKAGES_DOCUMENT))["parts"]
    gone = sorted(
        f"the {KINDS[part['kind']].words} '{part['name']}' of {part['package']} {part['version']}"
        for part in recorded
        if part["package"] not in there and part["kind"] != "observer"
    )
    if not gone:
        return []
    listed = ", ".join(gone)
    return [Fault("", f"it was trained with {listed}; install what is missing, and try again")]


def load_backbone(run_or_checkpoint: Path | str, overrides: Sequence[str] = ()) -> Frozen:
    """The target encoder of a training folder's newest valid checkpoint, or of one checkpoint.

    Where the run trained no target encoder (`Target.backbone` is None), so that the checkpoint
    exports none, it is the context encoder. The target itself is not built.

    Returns:
        (backbone, modality, config): on the CPU, frozen, in evaluation mode.

    Raises:
        CheckpointError: there is no valid checkpoint, or it does not fit its own config.
        ConfigError: see `read_config`.
    """
    checkpoint = find_checkpoint(Path(run_or_checkpoint))
    config = read_config(checkpoint, overrides)
    modality = make_modality(config)
    backbone = make_backbone(config, modality)
    target = checkpoint.tensor_file("target")
    if _holds_tensors(target):
        load_into(target, backbone.state_dict())
    else:
        _load_online(checkpoint, backbone)
    no_grad_eval(backbone)
    return Frozen(backbone, modality, config)


def _holds_tensors(file: Path) -> bool:
    try:
        with safe_open(file, framework="pt") as opened:
            return len(opened.keys()) > 0
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error


def _load_online(checkpoint: Checkpoint, backbone: Backbone) -> None:
    """Load the context encoder: targets that nothing trains (frozen, pixels) leave nothing else."""
    file = checkpoint.tensor_file("model")
    named = {
        name.removeprefix(_ONLINE): tensor
        for name, tensor in read_tensors(file).items()
        if name.startswith(_ONLINE)
    }
    try:
        backbone.load_state_dict(named)
    except RuntimeError as error:
        raise CheckpointError(f"{file}: it does not fit its own config: {error}") from error
