"""All checks of a part at once: as one call, or as a test for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from jepa.core import registry
from jepa.core.errors import ConfigError, one_of
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.kinds import KINDS
from jepa.core.modality import Content
from jepa.core.settings import structure
from jepa.testing import kits
from jepa.testing.promises import Check, ConformanceError, Subject
from jepa.testing.setup import GRIDS, JUNK, SPECS, Backend, Setup

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen
class Conformance:
    """The checks of one part: `run()` tries all; as a decorator it makes a test of each.

    Args:
        checks: in the order in which they are best read.
    """

    checks: tuple[Check, ...]

    def failures(self) -> list[ConformanceError]:
        """Every broken promise; where a basic one is broken, only that."""
        found: list[ConformanceError] = []
        for check in self.checks:
            try:
                check()
            except ConformanceError as error:
                found.append(error)
                if check.promise.basic:
                    break
        return found

    def run(self) -> None:
        """Try all checks.

        Raises:
            ConformanceError: with every broken promise.
        """
        found = self.failures()
        if found:
            names = tuple(name for error in found for name in error.checks)
            raise ConformanceError("\n\n".join(map(str, found)), names)

    def __call__(self, test: Callable[..., Any]) -> Callable[..., Any]:
        """Make a test of each check, for pytest, of a function `test(check)` that calls it.

        Slow ones bear the mark `slow`.
        """
        import pytest

        params = [
            pytest.param(check, id=check.name, marks=[pytest.mark.slow] * check.promise.slow)
            for check in self.checks
        ]
        made: Callable[..., Any] = pytest.mark.parametrize("check", params)(test)
        return made


def conformance(
    kind: str,
    part: str | type[Any],
    *,
    settings: Mapping[str, Any] = _NOTHING,
    grids: Sequence[Grid] = GRIDS,
    specs: Sequence[InputSpec] = SPECS,
    dim: int = 24,
    disjoint: bool = True,
    contents: Sequence[Content] = (),
    junk: Sequence[Content] = JUNK,
    overrides: Sequence[str] = (),
    root: Path | None = None,
    split: str | None = None,
    extensions: Iterable[str] = (),
    slow: bool = True,
    backend: Backend = "inductor",
) -> Conformance:
    """The checks of a part.

    Args:
        kind: of part, as in docs/plugins.md: `mask_sampler`, `encoder` and so on.
        part: its class, or the name that it is registered by.
        settings: of the part, as YAML would give them.
        grids: on which samplers, encoders and predictors are tried: of one, two and three axes.
        specs: inputs that a tokenizer is tried on: of one, two and three axes.
        dim: width D that tokenizers, encoders, predictors and regularizers are built for.
        disjoint: a sampler promises that context and targets share no token.
        contents: raw samples that a modality decodes, two or more.
        junk: contents that a modality refuses by `DecodeError`.
        overrides: `key=value` texts that make a small run of a modality's defaults.
        root: where a source finds samples.
        split: of a source.
        extensions: endings of files that a source looks for.
        slow: compiling, and two processes, besides.
        backend: of torch.compile; `aot_eager` finds broken graphs and needs no C++ compiler.

    Raises:
        ConfigError: an unknown kind, or settings that the part does not take.
        PluginError: no such part.
    """
    if kind not in KINDS:
        raise ConfigError(f"kind: {one_of(kind, KINDS)}", "conformance")
    cls = registry.load(registry.find(kind, part)) if isinstance(part, str) else part
    setup = Setup(
        grids=tuple(grids),
        specs=tuple(specs),
        dim=dim,
        disjoint=disjoint,
        contents=tuple(contents),
        junk=tuple(junk),
        overrides=tuple(overrides),
        root=root,
        split=split,
        extensions=frozenset(extensions),
        backend=backend,
    )
    kit = kits.load(kind)
    known = getattr(cls, "Config", None)
    # A class without settings is the first check's to refuse.
    config = (
        structure(dict(settings), known, f"settings of {cls.__name__}")
        if known is not None and attrs.has(known)
        else None
    )
    over: Mapping[str, Sequence[Grid | InputSpec | None]]
    over = {"grids": setup.grids, "specs": setup.specs, "": (None,)}
    subjects = tuple(Subject(cls=cls, config=config, setup=setup, at=at) for at in over[kit.over])
    chosen = [promise for promise in kit.promises if slow or not promise.slow]
    return Conformance(tuple(Check(kind, promise, subjects) for promise in chosen))
