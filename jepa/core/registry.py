"""Finds plugins by entry point and loads them: the one file that does.

Finding imports nothing. Only what a config names is loaded: that is the security boundary, and a
broken stranger breaks nobody. Built-in parts come in by the same door, from our own distribution.
"""

from __future__ import annotations

import configparser
import contextlib
import enum
import importlib
import importlib.metadata
import sys
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, get_args
from zipfile import BadZipFile

import attrs
import entrypoints
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from jepa.core.errors import PluginError, one_of
from jepa.core.kinds import KINDS

DISTRIBUTION = "anyjepa"


@attrs.frozen
class Plugin:
    """An entry point as found: nothing of it is imported yet. `package` is in canonical form."""

    kind: str
    name: str
    target: str
    package: str
    version: str

    @property
    def builtin(self) -> bool:
        """Whether our own distribution supplies it."""
        return self.package == DISTRIBUTION

    @property
    def qualified(self) -> str:
        """`package:name`, which picks this plugin whoever else claims the name."""
        return f"{self.package}:{self.name}"


class Claim(enum.Enum):
    """Whether a plugin's name alone means that plugin."""

    SOLE = "sole"
    DISPUTED = "disputed"
    """Another package claims the name: only `package:name` picks one."""
    SHADOWED = "shadowed"
    """The name means a built-in part."""


def _groups() -> dict[str, str]:
    return {kind.group: kind.name for kind in KINDS.values()}


def _read(parsed: configparser.ConfigParser, package: str, version: str) -> list[Plugin]:
    """Our groups of one parsed entry_points.txt."""
    groups = _groups()
    return [
        Plugin(groups[group], name, _target(text, name), package, version)
        for group in parsed.sections()
        if group in groups
        for name, text in parsed.items(group)
    ]


def _target(text: str, name: str) -> str:
    entry = entrypoints.EntryPoint.from_string(text, name)
    return str(entry.module_name) + (f":{entry.object_name}" if entry.object_name else "")


def _scan() -> list[Plugin]:
    """All plugins of all installed packages, by `entrypoints`.

    It tells packages apart by the spelling of their folders, so that one which lies on the path
    twice (`My.Pkg-1.dist-info`, `my_pkg-2.dist-info`) comes twice: as in an import, the first one
    counts.
    """
    path = [entry for entry in sys.path if isinstance(entry, str)]
    seen: set[str] = set()
    found: list[Plugin] = []
    for parsed, distro in entrypoints.iter_files_distros(path):
        package = canonicalize_name(distro.name)
        if package not in seen:
            seen.add(package)
            found += _read(parsed, package, distro.version or _version(package))
    return found


def _version(package: str) -> str:
    # The folder of an editable install by setuptools' older way (`x.egg-info`) has no version.
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _scan_around_malformed() -> list[Plugin]:
    """The same by importlib.metadata, passing over packages whose metadata cannot be read."""
    seen: set[str] = set()
    found: list[Plugin] = []
    for dist in importlib.metadata.distributions():
        (name, *_) = dist.metadata.get_all("Name") or [""]
        package = canonicalize_name(name) or f"a nameless package in {dist.locate_file('')}"
        if package in seen:
            continue
        try:
            parser = entrypoints.CaseSensitiveConfigParser(delimiters=("=",))
            parser.read_string(dist.read_text("entry_points.txt") or "")
            found += _read(parser, package, dist.version)
        except _MALFORMED as error:
            warnings.warn(
                f"the entry points of '{package}' cannot be read, so its plugins are not "
                f"available ({str(error).splitlines()[0]}); reinstall or remove it",
                stacklevel=2,
            )
        seen.add(package)
    return found


_MALFORMED = (configparser.Error, entrypoints.BadEntryPoint, UnicodeDecodeError, BadZipFile)


@cache
def plugins() -> tuple[Plugin, ...]:
    """Every plugin that is installed, sorted by kind (in the order of KINDS) and name.

    The path is searched once a process. One malformed entry_points.txt, of whatever package, ends
    the search of `entrypoints`; then importlib.metadata searches, and a warning names the culprit.
    """
    try:
        found = _scan()
    except _MALFORMED:
        found = _scan_around_malformed()
    order = list(KINDS)
    return tuple(sorted(found, key=lambda p: (order.index(p.kind), p.name, p.package)))


def names(kind: str) -> list[str]:
    """The names of all parts of a kind, sorted."""
    return sorted({plugin.name for plugin in plugins() if plugin.kind == kind})


def claim(plugin: Plugin) -> Claim:
    """Whether the plugin's name alone means it."""
    rivals = [p for p in _claimants(plugin.kind, plugin.name) if p != plugin]
    if plugin.builtin or not rivals:
        return Claim.SOLE
    return Claim.SHADOWED if any(rival.builtin for rival in rivals) else Claim.DISPUTED


def _claimants(kind: str, name: str) -> list[Plugin]:
    return [plugin for plugin in plugins() if (plugin.kind, plugin.name) == (kind, name)]


def find(kind: str, name: str) -> Plugin:
    """The plugin that `name` or `package:name` means.

    Raises:
        PluginError: no such name, or several packages claim it.
    """
    package, _, bare = name.rpartition(":")
    claimed = _claimants(kind, bare)
    if package:
        matches = [plugin for plugin in claimed if plugin.package == canonicalize_name(package)]
    else:
        # A built-in name cannot be shadowed; the stranger stays reachable as package:name.
        matches = [plugin for plugin in claimed if plugin.builtin] or claimed
    if not matches:
        raise PluginError(_absent(kind, name))
    if len(matches) > 1:
        claims = " or ".join(f"'{p.qualified}' (version {p.version})" for p in matches)
        raise PluginError(
            f"{len(matches)} packages claim the {KINDS[kind].words} '{name}': name {claims}"
        )
    return matches[0]


def _absent(kind: str, name: str) -> str:
    if not any(plugin.builtin for plugin in plugins()):
        return (
            f"{KINDS[kind].words}: no built-in part is registered; install the package "
            "(`pip install -e .` in a checkout), so that its entry points exist"
        )
    known = [p.qualified for p in plugins() if p.kind == kind] if ":" in name else names(kind)
    return (
        f"no such {KINDS[kind].words}: {one_of(name, known)}; is the package that has it installed?"
    )


def load(plugin: Plugin) -> type[Any]:
    """Import a plugin and check that it is what its group promises.

    Raises:
        PluginError: it cannot be imported, is not a class of its kind, is abstract, has no typed
            `Config`, or its package requires another version of ours.
    """
    who = f"{KINDS[plugin.kind].words} '{plugin.name}' of {plugin.package} {plugin.version}"
    _check_requirement(plugin, who)
    loaded = _import(plugin.target, who)
    interface = _import(KINDS[plugin.kind].interface, who)
    if not (isinstance(loaded, type) and issubclass(loaded, interface)):
        raise PluginError(f"{who}: {plugin.target} is not a subclass of {interface.__name__}")
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"{who}: {plugin.target} does not implement {', '.join(missing)}")
    settings = getattr(loaded, "Config", None)
    if not (isinstance(settings, type) and attrs.has(settings)):
        raise PluginError(f"{who}: {plugin.target} has no attrs class `Config`")
    try:
        _resolve(settings, set())
    except PluginError as error:
        raise PluginError(f"{who}: {error}") from error
    if "name" in attrs.fields_dict(settings):
        raise PluginError(f"{who}: its Config has a field `name`, but that names the plugin")
    return loaded


def fields(settings: type[Any]) -> tuple[attrs.Attribute[Any], ...]:
    """The fields of a class of settings, with their types.

    Raises:
        PluginError: an annotation cannot be evaluated.
    """
    try:
        found: tuple[attrs.Attribute[Any], ...] = attrs.fields(attrs.resolve_types(settings))
    # Annotations are code of a stranger too, and may raise anything.
    except Exception as error:
        raise PluginError(
            f"the annotations of {settings.__qualname__}: {type(error).__name__}: {error}"
        ) from error
    return found


def _resolve(settings: type[Any], seen: set[type[Any]]) -> None:
    """Evaluate the annotations of a class of settings, and of those that stand in it."""
    seen.add(settings)
    for field in fields(settings):
        for tp in _named_in(field.type):
            if isinstance(tp, type) and attrs.has(tp) and tp not in seen:
                _resolve(tp, seen)


def _named_in(tp: Any) -> Iterator[Any]:
    yield tp
    for argument in get_args(tp):
        yield from _named_in(argument)


def _import(target: str, who: str) -> Any:
    module, _, name = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in name.split(".") if name else ():
            found = getattr(found, attribute)
    # A stranger's import may raise anything, or leave the interpreter; that is its own fault.
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{who}: importing {target} failed: {type(error).__name__}: {error}"
        ) from error
    return found


def _check_requirement(plugin: Plugin, who: str) -> None:
    """Refuse a stranger whose package says that it needs another version of ours."""
    if plugin.builtin:
        return
    try:
        requires = importlib.metadata.requires(plugin.package) or []
        ours = Version(importlib.metadata.version(DISTRIBUTION))
    except (importlib.metadata.PackageNotFoundError, InvalidVersion):
        return
    for requirement in _parsed(requires):
        named = canonicalize_name(requirement.name) == DISTRIBUTION
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if named and applies and not requirement.specifier.contains(ours, prereleases=True):
            raise PluginError(f"{who}: it requires {requirement}, but {DISTRIBUTION} is {ours}")


def _parsed(lines: Iterable[str]) -> Iterator[Requirement]:
    for line in lines:
        with contextlib.suppress(InvalidRequirement):
            yield Requirement(line)
