"""Finds plugins by entry point and loads them: the one file that does.

Finding imports nothing. Only what a config names is loaded: that is the security boundary, and a
broken stranger breaks nobody. Built-in parts come in by the same door, from our own distribution.
"""

from __future__ import annotations

import configparser
import importlib
import importlib.metadata
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

import attrs
import entrypoints
from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from jepa.core.errors import PluginError, one_of

DISTRIBUTION = "anyjepa"


@attrs.frozen
class Kind:
    """One kind of part: its entry-point group and the class that its plugins derive from."""

    name: str
    group: str
    interface: str


def _kinds(*rows: tuple[str, str, str]) -> Mapping[str, Kind]:
    return MappingProxyType(
        {name: Kind(name, f"jepa.{g}", f"jepa.core.{i}") for name, g, i in rows}
    )


KINDS = _kinds(
    ("modality", "modalities", "modality:Modality"),
    ("tokenizer", "tokenizers", "interfaces:Tokenizer"),
    ("mask_sampler", "mask_samplers", "interfaces:MaskSampler"),
    ("encoder", "encoders", "interfaces:Encoder"),
    ("predictor", "predictors", "interfaces:Predictor"),
    ("target_updater", "target_updaters", "interfaces:TargetUpdater"),
    ("objective", "objectives", "interfaces:Objective"),
    ("regularizer", "regularizers", "interfaces:Regularizer"),
    ("source", "sources", "data.source:Source"),
    ("protocol", "protocols", "interfaces:Protocol"),
    ("observer", "observers", "training.observer:Observer"),
)


@attrs.frozen
class Plugin:
    """An entry point as found: nothing of it is imported yet."""

    kind: str
    name: str
    target: str
    package: str
    version: str

    @property
    def builtin(self) -> bool:
        """Whether our own distribution supplies it."""
        return _canonical(self.package) == DISTRIBUTION

    @property
    def qualified(self) -> str:
        """`package:name`, which picks this plugin whoever else claims the name."""
        return f"{self.package}:{self.name}"


def _canonical(package: str) -> str:
    return package.lower().replace("_", "-").replace(".", "-")


def _scan() -> Iterator[Plugin]:
    """All plugins of all installed packages, by `entrypoints`."""
    groups = {kind.group: kind.name for kind in KINDS.values()}
    for parsed, distro in entrypoints.iter_files_distros():
        for group in groups.keys() & set(parsed.sections()):
            for name, target in parsed.items(group):
                entry = entrypoints.EntryPoint.from_string(target, name, distro)
                path = entry.module_name + (f":{entry.object_name}" if entry.object_name else "")
                package, version = (distro.name, distro.version) if distro else ("unknown", "")
                yield Plugin(groups[group], name, path, package, version)


def _scan_around_malformed() -> Iterator[Plugin]:
    """The same by importlib.metadata, passing over packages whose metadata cannot be read."""
    groups = {kind.group: kind.name for kind in KINDS.values()}
    seen: set[str] = set()
    for dist in importlib.metadata.distributions():
        name = dist.metadata["Name"] or "unknown"
        if _canonical(name) in seen:
            continue
        seen.add(_canonical(name))
        text = dist.read_text("entry_points.txt")
        if text is None:
            continue
        parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
        try:
            parser.read_string(text)
            found = [
                Plugin(groups[group], key, _target(value, key), name, dist.version)
                for group in parser.sections()
                if group in groups
                for key, value in parser.items(group)
            ]
        except (configparser.Error, entrypoints.BadEntryPoint) as error:
            first = str(error).splitlines()[0]
            warnings.warn(
                f"the entry points of package '{name}' cannot be read, so its plugins are not "
                f"available ({first}); reinstall or remove it",
                stacklevel=2,
            )
            continue
        yield from found


def _target(value: str, name: str) -> str:
    entry = entrypoints.EntryPoint.from_string(value, name)
    return str(entry.module_name) + (f":{entry.object_name}" if entry.object_name else "")


@cache
def plugins() -> tuple[Plugin, ...]:
    """Every plugin that is installed, sorted by kind (in the order of KINDS) and name."""
    try:
        found = set(_scan())
    except (configparser.Error, entrypoints.BadEntryPoint, UnicodeDecodeError):
        found = set(_scan_around_malformed())
    order = list(KINDS)
    return tuple(sorted(found, key=lambda p: (order.index(p.kind), p.name, p.package)))


def find(kind: str, name: str) -> Plugin:
    """The plugin that `name` or `package:name` means.

    Raises:
        PluginError: no such name, or two packages claim it.
    """
    of_kind = [plugin for plugin in plugins() if plugin.kind == kind]
    if ":" in name:
        package, _, bare = name.partition(":")
        matches = [
            p for p in of_kind if p.name == bare and _canonical(p.package) == _canonical(package)
        ]
    else:
        claimed = [p for p in of_kind if p.name == name]
        # A built-in name cannot be shadowed; the stranger stays reachable as package:name.
        matches = [p for p in claimed if p.builtin] or claimed
    if not matches:
        if not any(plugin.builtin for plugin in plugins()):
            raise PluginError(
                f"{kind.replace('_', ' ')}: no built-in part is registered; install the package "
                "(`pip install -e .` in a checkout), so that its entry points exist"
            )
        names = {p.qualified if ":" in name else p.name for p in of_kind}
        hint = "; is the package that supplies it installed?"
        raise PluginError(f"no such {kind.replace('_', ' ')}: {one_of(name, names)}{hint}")
    if len(matches) > 1:
        claims = " and ".join(f"'{p.qualified}' ({p.package} {p.version})" for p in matches)
        raise PluginError(
            f"two packages claim the {kind.replace('_', ' ')} '{name}': name one of {claims}"
        )
    return matches[0]


def load(plugin: Plugin) -> type[Any]:
    """Import a plugin and check that it is what its group promises.

    Raises:
        PluginError: it cannot be imported, is not a class of its kind, is abstract, has no typed
            `Config`, or its package requires another version of ours.
    """
    who = f"{plugin.kind.replace('_', ' ')} '{plugin.name}' of {plugin.package} {plugin.version}"
    _check_requirement(plugin, who)
    loaded = _import(plugin.target, who)
    interface = _import(KINDS[plugin.kind].interface, who)
    if not (isinstance(loaded, type) and issubclass(loaded, interface)):
        raise PluginError(f"{who}: {plugin.target} is not a subclass of {interface.__name__}")
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{who}: {plugin.target} does not implement {', '.join(missing)}")
    if not attrs.has(getattr(loaded, "Config", None)):  # type: ignore[arg-type]
        raise PluginError(f"{who}: {plugin.target} has no attrs class `Config`")
    return loaded


def _import(target: str, who: str) -> Any:
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in name.split(".") if name else ():
            found = getattr(found, attribute)
    # A stranger's import may raise anything; it is reported as that plugin's fault.
    except Exception as error:
        raise PluginError(
            f"{who}: importing {target} failed: {type(error).__name__}: {error}"
        ) from error
    return found


def _check_requirement(plugin: Plugin, who: str) -> None:
    if plugin.builtin:
        return
    try:
        requires = importlib.metadata.requires(plugin.package) or []
        ours = Version(importlib.metadata.version(DISTRIBUTION))
    except (importlib.metadata.PackageNotFoundError, InvalidVersion):
        return
    for line in requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if _canonical(requirement.name) == DISTRIBUTION and not requirement.specifier.contains(
            ours, prereleases=True
        ):
            raise PluginError(f"{who}: it requires {requirement}, but {DISTRIBUTION} is {ours}")
