"""Sources as a command line names them: a path, a plugin, a split of the run's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from jepa.core import registry
from jepa.core.config import DataConfig, RunConfig, parse_yaml, takes_root
from jepa.core.data.opening import open_source
from jepa.core.data.source import Source
from jepa.core.errors import ConfigError, DataError, PluginError, did_you_mean
from jepa.core.modality import Modality
from jepa.core.settings import show, structure, unstructure

SOURCE_HELP = (
    "a folder or file; a source (NAME, NAME:SPLIT, '{name: NAME, setting: value, split: SPLIT, "
    "root: PATH}'); or a split of the run's own source"
)
"""What a SOURCE argument may be, for the help of commands."""

_OF_FILES = ("folder", "class_folders")


def read_source(
    text: str | None,
    config: RunConfig,
    modality: Modality | type[Modality],
    default_split: str | None,
    *,
    labelled: bool = False,
    where: str = "source",
) -> Source:
    """The source that an argument names, opened.

    The first of these that fits:
      - nothing: the run's own samples;
      - a YAML mapping: settings of `data.source`, with `split` and `root` beside them; without a
        `name` they change the run's own source;
      - a file or folder that exists: read by the run's own source where that reads a root, else
        as files, arrays or tars, as the path shows (no split);
      - the name of a source plugin, or NAME:SPLIT;
      - a split of the run's own source.

    Args:
        text: the argument; None or empty: absent.
        config: of the run.
        modality: tells which file endings are samples.
        default_split: where the argument says none and is no path; None: the run's own, or
            everything of another source.
        labelled: labels are needed; a folder of class folders then gives them.
        where: the argument's name, for errors.

    Raises:
        ConfigError: it is none of these, or has settings that the source does not know.
        DataError: the source has no such split, holds no sample, or has no labels.
    """
    data = _data(text or "", config.data, modality, default_split, labelled, where)
    source = open_source(data, modality)
    if labelled and source.labels() is None:
        found = f"'{text}'" if text else "the run's own source"
        raise DataError(
            f"{where}: {found} ({data.source.name}) has no labels; they come with class folders, "
            "or with arrays and tars that hold them"
        )
    return source


def _data(
    text: str,
    own: DataConfig,
    modality: Modality | type[Modality],
    default_split: str | None,
    labelled: bool,
    where: str,
) -> DataConfig:
    """The run's `data`, changed as the argument says."""
    if not text:
        return own if default_split is None else attrs.evolve(own, split=default_split)
    if text.lstrip().startswith("{"):
        return _mapped(text, own, default_split, where)
    path = Path(text).expanduser()
    if path.exists():
        source = _reader(path, own, modality, labelled)
        return _changed(own, where, source=source, root=str(path.absolute()), split=None)
    name, split = _plugin(text)
    if name is not None:
        root = own.root if takes_root(name) else None
        return _changed(own, where, source=name, root=root, split=split or default_split)
    return _own_split(text, own, modality, where)


def _mapped(text: str, own: DataConfig, default_split: str | None, where: str) -> DataConfig:
    """The `data` that a YAML mapping describes."""
    found = parse_yaml(text, where)
    if not isinstance(found, Mapping):
        raise ConfigError(f"found {show(found)}, allowed: a mapping", where)
    split = found.get("split", default_split)
    settings = {key: value for key, value in found.items() if key not in ("split", "root")}
    if "name" not in settings:
        settings = {**unstructure(own.source), **settings}
    root = own.root if takes_root(settings) else None
    return _changed(own, where, source=settings, root=found.get("root", root), split=split)


def _changed(own: DataConfig, where: str, *, source: Any, root: Any, split: Any) -> DataConfig:
    root = str(root) if isinstance(root, Path) else root
    changed = {**unstructure(own), "source": source, "root": root, "split": split}
    return structure(changed, DataConfig, where)


def _plugin(text: str) -> tuple[str | None, str | None]:
    """Name and split of the source plugin that `NAME` or `NAME:SPLIT` means, if it means one.

    A name may have a colon of its own (`package:name`), so the whole text is looked up first.
    """
    name, _, split = text.rpartition(":")
    for found, of in ((text, None), (name, split)):
        try:
            registry.find("source", found)
        except PluginError:
            if found in registry.names("source"):  # known, but claimed twice
                raise
            continue
        return found, of
    return None, None


def _reader(
    path: Path, own: DataConfig, modality: Modality | type[Modality], labelled: bool
) -> Any:
    """Which source reads a file or folder, as `data.source` names it."""
    source = own.source
    if source.cls.takes_root and source.name not in _OF_FILES:
        return unstructure(source)
    if path.is_file():
        return "shards" if path.suffix.lower() == ".tar" else "arrays"
    # A run on class folders may well describe loose files, which have no class.
    classed = source.name == "class_folders" and _has_classes(path, modality)
    return "class_folders" if labelled or classed else "folder"


def _has_classes(folder: Path, modality: Modality | type[Modality]) -> bool:
    """Whether samples stand in sub-folders alone."""
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    loose = any(entry.suffix.lower() in modality.extensions for entry in entries)
    return not loose and any(entry.is_dir() for entry in entries)


def _own_split(
    text: str, own: DataConfig, modality: Modality | type[Modality], where: str
) -> DataConfig:
    """The run's own samples of another split, which the source must know."""
    name = text.rpartition(":")[0] or text
    names = registry.names("source")
    said = f"found '{text}', which is no file or folder, no source ({', '.join(names)})"
    data = attrs.evolve(own, split=text)
    try:
        open_source(data, modality)
    except DataError as error:
        raise ConfigError(
            f"{said} and no split of the run's own source '{own.source.name}': {error}"
            f"{did_you_mean(name, names)}",
            where,
        ) from error
    return data
