"""From the config to a source."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from jepa.core.config import DataConfig
from jepa.core.data.source import Place, Source
from jepa.core.errors import ConfigError, Fault
from jepa.core.modality import Modality
from jepa.core.parts import stretches_refused


def cache_folder(config: DataConfig) -> Path:
    """`data.cache`, JEPA_CACHE, or jepa in the user's cache folder."""
    if config.cache is not None:
        return config.cache.expanduser()
    named = os.environ.get("JEPA_CACHE")
    if named:
        return Path(named).expanduser()
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "jepa"
    try:
        return Path.home() / ".cache" / "jepa"
    except RuntimeError:  # a user without a home, as in some containers
        return Path(tempfile.gettempdir()) / f"jepa-{os.getuid()}"


def open_source(
    config: DataConfig, modality: Modality | type[Modality], split: str | None = None
) -> Source:
    """The source that a config names.

    Args:
        config: the run's `data`.
        modality: tells which file endings are samples.
        split: instead of the config's.

    Raises:
        ConfigError: the source gives stretches, and the modality takes none.
        DataError: the place is missing or holds no sample.
    """
    kind = modality if isinstance(modality, type) else type(modality)
    refusal = stretches_refused(config.source, kind)
    if refusal is not None:
        raise ConfigError(Fault("data.source", refusal))
    place = Place(
        root=config.root,
        split=split if split is not None else config.split,
        extensions=modality.extensions,
        cache=cache_folder(config),
    )
    source: Source = config.source.cls(config.source.config, place=place)
    return source
