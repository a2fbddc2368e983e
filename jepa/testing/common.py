"""Checks of parts of every kind: the class, and its settings."""

from __future__ import annotations

import inspect
import pickle
from typing import Any

import attrs

from jepa.core.settings import structure, unstructure
from jepa.core.yamlfile import parse_yaml, to_yaml
from jepa.testing.promises import Promise, Subject, expect, promise

_PLUGINS = "docs/plugins.md, section 'What a part is'"


@promise(_PLUGINS, basic=True)
def is_complete(subject: Subject) -> None:
    """The class implements what its kind declares, and has an attrs class `Config`."""
    missing = sorted(subject.cls.__abstractmethods__)
    expect(not missing, f"it does not implement {', '.join(missing)}")
    settings = getattr(subject.cls, "Config", None)
    expect(isinstance(settings, type) and attrs.has(settings), f"Config is {settings!r}")
    names = [field.name for field in attrs.fields(subject.cls.Config)]
    expect("name" not in names, "Config has a field `name`, but that names the plugin")


@promise(_PLUGINS)
def settings_are_frozen(subject: Subject) -> None:
    """`Config` is `@attrs.frozen(kw_only=True)`: settings never change."""
    for field in attrs.fields(subject.cls.Config):
        expect(bool(field.kw_only) or not field.init, f"{field.name} is not keyword-only")
        try:
            setattr(subject.config, field.name, getattr(subject.config, field.name))
        except attrs.exceptions.FrozenInstanceError:
            continue
        expect(False, f"{field.name} can be set anew")


@promise(_PLUGINS)
def settings_round_trip(subject: Subject) -> None:
    """Settings written as YAML, as checkpoints do, are read back as they were."""
    written = parse_yaml(to_yaml(unstructure(subject.config)), "settings")
    read: Any = structure(written, subject.cls.Config, "settings")
    expect(read == subject.config, f"{read} for {subject.config}")
    copied = pickle.loads(pickle.dumps(subject.config))
    expect(copied == subject.config, f"{copied} after pickling {subject.config}")


@promise(_PLUGINS)
def no_keyword_sink(subject: Subject) -> None:
    """The constructor names its arguments: `**kwargs` would swallow what it does not know."""
    kinds = {p.kind for p in inspect.signature(subject.cls).parameters.values()}
    expect(inspect.Parameter.VAR_KEYWORD not in kinds, "it takes **kwargs")


PROMISES: tuple[Promise, ...] = (
    is_complete,
    settings_are_frozen,
    settings_round_trip,
    no_keyword_sink,
)
