"""Numbers that a modality measures on a data set, once: on one process, and kept on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import attrs

from jepa.core.config import RunConfig, to_yaml
from jepa.core.data.opening import cache_folder
from jepa.core.data.source import Source
from jepa.core.errors import JepaError
from jepa.core.files import write_atomic
from jepa.core.settings import structure, unstructure
from jepa.core.training.distributed import World

_VERSION = "measured 1"


def unmeasured(config: RunConfig) -> tuple[str, ...]:
    """Keys of the config that stand at null for the run to measure: `modality.NAME`."""
    return tuple(f"modality.{name}" for name in _missing(config))


def measured(config: RunConfig, source: Source, world: World) -> RunConfig:
    """The config with what its modality measures (see `Modality.fit`).

    The first process measures, or reads what was measured before; all others get its numbers. What
    was measured is kept in the data cache, by the samples and by the modality: its code, its
    version and every setting.

    Args:
        config: of the run.
        source: of the training samples.
        world: this process among the others.

    Raises:
        JepaError: what the first process met, on all of them.
    """
    if not _missing(config):
        return config
    fault, numbers = None, None
    if world.is_first:
        try:
            numbers = _numbers(config, source)
        except JepaError as error:
            if world.size == 1:
                raise
            fault = str(error)
    world.agree(fault)
    return _filled(config, world.from_first(numbers))


def _missing(config: RunConfig) -> tuple[str, ...]:
    part = config.modality
    return tuple(name for name in part.cls.measures if getattr(part.config, name) is None)


def _numbers(config: RunConfig, source: Source) -> dict[str, Any]:
    """The missing settings by name, as plain data."""
    part, missing = config.modality, _missing(config)
    path = _file(config, source)
    kept = _read(path)
    if kept is not None and kept.keys() == set(missing):
        return kept
    fitted = part.cls.fit(part.config, source)
    # Read as any settings are, for a stranger may measure what no setting can be.
    read = structure(
        unstructure(fitted), part.cls.Config, f"what the modality {part.name} measured"
    )
    found = {name: unstructure(read)[name] for name in missing}
    # A cache that cannot be written costs the next run a measurement.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(found) + "\n")
    return found


def _file(config: RunConfig, source: Source) -> Path:
    """Where the numbers of this data set under these settings are kept."""
    root = config.data.root
    told = [
        _VERSION,
        config.modality.plugin.package,
        config.modality.plugin.version,
        _code(config.modality.cls),
        # A fingerprint may say no more than how files are called, which two data sets can share.
        "" if root is None else str(root.expanduser().absolute()),
        source.fingerprint(),
        to_yaml(unstructure(config.modality)),
    ]
    digest = hashlib.sha256("\0".join(told).encode()).hexdigest()[:24]
    return cache_folder(config.data) / "measured" / f"{digest}.json"


def _code(cls: type[Any]) -> str:
    """A digest of the module that a class stands in, and of those beside it in its package.

    A version alone says nothing while somebody writes the code.
    """
    module = sys.modules[cls.__module__]
    file = Path(module.__file__ or "")
    beside = file.parent.glob("*.py") if module.__package__ else [file]
    digest = hashlib.sha256()
    # Where the sources are not at hand, the version has to do.
    with contextlib.suppress(OSError):
        for path in sorted(beside):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    """What was kept; None where nothing whole is."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _filled(config: RunConfig, numbers: dict[str, Any]) -> RunConfig:
    part = config.modality
    settings = structure({**unstructure(part.config), **numbers}, part.cls.Config, part.name)
    return attrs.evolve(config, modality=attrs.evolve(part, config=settings))
