"""May a run go on from a checkpoint with this config?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jepa.core.config import RunConfig, differences, flatten, parse_yaml
from jepa.core.errors import CheckpointError, ConfigError
from jepa.core.settings import structure, unstructure
from jepa.core.training.checkpoint import Checkpoint, read_document

CONFIG_DOCUMENT = "config.yaml"

_FREE = (
    "checkpoint",
    "data.cache",
    "data.max_bad_fraction",
    "data.prefetch",
    "data.root",
    "data.workers",
    "observers",
    "train.log_every",
    "train.max_bad_steps",
)
"""Keys (with all below them) that cannot change the weights of a step. They say where files lie,
how fast the run goes, what it shows and when it gives up. `data.root` may move, since the source's
fingerprint, which is compared apart, says whether the samples are the same."""


def config_differences(
    checkpoint: Checkpoint, plain: Mapping[str, Any], unmeasured: Sequence[str] = ()
) -> list[str]:
    """The keys in which a config differs from the checkpoint's so that the run could differ.

    `train.max_steps` counts only where `train.epochs` is absent: only then do the schedules
    depend on it. A setting that the checkpoint's version did not know yet had its default's effect.

    Args:
        checkpoint: to go on from.
        plain: the resolved config, as `settings.unstructure` gives it.
        unmeasured: keys that the run will measure, whatever the checkpoint's holds there (see
            `measuring.unmeasured`).

    Returns:
        A line `key: old -> new` each; empty where the run may go on.

    Raises:
        CheckpointError: the checkpoint holds no config.
    """
    old = parse_yaml(read_document(checkpoint, CONFIG_DOCUMENT), str(checkpoint.path))
    if not isinstance(old, Mapping):
        raise CheckpointError(f"{checkpoint.path / CONFIG_DOCUMENT}: found no mapping")
    before, after = flatten(_completed(old)), flatten(plain)
    free: tuple[str, ...] = (*_FREE, *unmeasured)
    if before.get("train.epochs") is not None and after.get("train.epochs") is not None:
        free = (*free, "train.max_steps")
    return differences(_without(before, free), _without(after, free))


def _completed(old: Mapping[str, Any]) -> Mapping[str, Any]:
    """An older config with the defaults of settings that are new; as it is where it names what is
    gone."""
    try:
        return unstructure(structure({**old, "observers": []}, RunConfig, "checkpoint"))
    except ConfigError:
        return old


def _without(flat: Mapping[str, Any], prefixes: tuple[str, ...]) -> dict[str, Any]:
    return {
        key: value
        for key, value in flat.items()
        if not any(key == prefix or key.startswith(f"{prefix}.") for prefix in prefixes)
    }
