"""A run's state as a checkpoint, and back."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import attrs
from torch import Tensor

from jepa.core.config import RunConfig, to_yaml
from jepa.core.errors import CheckpointError
from jepa.core.model import JEPA
from jepa.core.settings import parts, unstructure
from jepa.core.training import checkpoint as files
from jepa.core.training.checkpoint import Checkpoint, read_document, save
from jepa.core.training.optimizer import Optimizer
from jepa.core.training.precision import Precision
from jepa.core.training.resume import CONFIG_DOCUMENT
from jepa.core.training.tensorfile import load_into

PACKAGES_DOCUMENT = "packages.json"
_TARGET = "target."


@attrs.frozen(kw_only=True)
class Progress:
    """What a checkpoint says besides tensors and config.

    Args:
        step: optimizer steps done.
        samples: of the data set.
        fingerprint: of the source.
        processes: that trained.
        precision: that the steps were computed in.
        meters: sums of the unfinished log interval.
    """

    step: int
    samples: int
    fingerprint: str
    processes: int
    precision: Precision = attrs.field(validator=attrs.validators.in_(get_args(Precision)))
    meters: Mapping[str, float]


def write(
    folder: Path, config: RunConfig, model: JEPA, optimizer: Optimizer, progress: Progress
) -> Checkpoint:
    """Write the checkpoint of a step (see `checkpoint.save`)."""
    return save(
        folder,
        progress.step,
        tensors=_all(model, optimizer),
        documents={
            CONFIG_DOCUMENT: to_yaml(unstructure(config)),
            PACKAGES_DOCUMENT: json.dumps(packages(config), indent=2) + "\n",
            "state.json": json.dumps(attrs.asdict(progress), indent=2) + "\n",
        },
    )


def check_place(folder: Path, model: JEPA, optimizer: Optimizer) -> None:
    """Refuse a folder that could not hold a checkpoint (see `checkpoint.check_place`)."""
    files.check_place(folder, _all(model, optimizer))


def _all(model: JEPA, optimizer: Optimizer) -> dict[str, dict[str, Tensor]]:
    """Every tensor of a run, by the file that holds it."""
    return {
        "model": _own_tensors(model),
        "target": _exported(model),
        "optimizer": optimizer.tensors(),
    }


def read_progress(checkpoint: Checkpoint) -> Progress:
    """What the checkpoint's `state.json` says.

    Raises:
        CheckpointError: it says something else.
    """
    text = read_document(checkpoint, "state.json")
    try:
        return Progress(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.path / 'state.json'}: {error}") from error


def load_model(checkpoint: Checkpoint, model: JEPA) -> None:
    """Copy the checkpoint's weights into the model."""
    load_into(checkpoint.tensor_file("model"), _own_tensors(model))
    load_into(checkpoint.tensor_file("target"), _exported(model))


def load_optimizer(checkpoint: Checkpoint, optimizer: Optimizer) -> None:
    """Take up the checkpoint's optimizer state."""
    load_into(checkpoint.tensor_file("optimizer"), optimizer.tensors())


def packages(config: RunConfig) -> dict[str, Any]:
    """Which packages supplied the parts of a run, and what they ran on."""
    libraries = ("torch", "torchvision", "torchaudio", "numpy", "attrs", "einops", "pillow")
    return {
        "parts": [
            {
                "kind": part.kind,
                "name": part.name,
                "package": part.plugin.package,
                "version": part.plugin.version,
            }
            for part in parts(config)
        ],
        "python": platform.python_version(),
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }


def _exported(model: JEPA) -> dict[str, Tensor]:
    """The target backbone, which users evaluate, under the names of `Backbone.state_dict`."""
    backbone = model.target.backbone
    return {} if backbone is None else dict(backbone.state_dict())


def _own_tensors(model: JEPA) -> dict[str, Tensor]:
    """The model's state less what `_exported` holds, so that it stands on the disk once."""
    exported = {tensor.data_ptr() for tensor in _exported(model).values()}
    return {
        name: tensor
        for name, tensor in model.state_dict().items()
        if not (name.startswith(_TARGET) and tensor.data_ptr() in exported)
    }
