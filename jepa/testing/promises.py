"""What a check is: a promise, what it is tried on, and the words of its failure."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

import attrs

from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.testing.setup import Setup


class ConformanceError(AssertionError):
    """A part breaks a promise of its kind: which, what was promised, what was found.

    Args:
        text: the failure in words.
        checks: names of the checks that failed.
    """

    def __init__(self, text: str, checks: tuple[str, ...]) -> None:
        super().__init__(text)
        self.checks = checks


class BrokenError(Exception):
    """What a check found; the check's name and place are put around it."""


def expect(kept: bool, found: str) -> None:
    """Go on where a promise is kept.

    Args:
        kept: whether it is.
        found: what was seen instead, with numbers.

    Raises:
        BrokenError: it is not.
    """
    if not kept:
        raise BrokenError(found)


@attrs.frozen(kw_only=True)
class Subject:
    """What one check looks at: a part's class and settings, on one grid or one kind of input.

    Args:
        cls: the part.
        config: its typed settings.
        setup: what the checks were given besides.
        at: a grid, a kind of input, or None where the part knows neither.
    """

    cls: type[Any]
    config: Any
    setup: Setup
    at: Grid | InputSpec | None = None

    @property
    def grid(self) -> Grid:
        """The grid of a part that has one."""
        assert isinstance(self.at, Grid)
        return self.at

    @property
    def spec(self) -> InputSpec:
        """The inputs of a part that takes them."""
        assert isinstance(self.at, InputSpec)
        return self.at

    def __str__(self) -> str:
        if self.at is None:
            return self.cls.__name__
        inputs = isinstance(self.at, InputSpec)
        where = f"inputs {list(self.spec.shape)} of {self.spec.axes}" if inputs else f"{self.at}"
        return f"{self.cls.__name__} on {where}"


@attrs.frozen
class Promise:
    """One thing that a part of a kind must do.

    Args:
        function: tries it on a subject; raises `BrokenError` where it is not kept. Its docstring is
            the promise in words.
        see: where it is stated.
        basic: without it the others can't be tried.
        slow: takes seconds, such as compiling.
    """

    function: Callable[[Subject], None]
    see: str
    basic: bool = False
    slow: bool = False

    @property
    def name(self) -> str:
        """Of the check."""
        return self.function.__name__

    @property
    def text(self) -> str:
        """The promise in words."""
        return " ".join((self.function.__doc__ or "").split())


def promise(
    see: str, *, basic: bool = False, slow: bool = False
) -> Callable[[Callable[[Subject], None]], Promise]:
    """Make a promise of the function that tries it."""
    return lambda function: Promise(function, see, basic, slow)


@attrs.frozen
class Check:
    """One promise, ready to be tried on a part. Call it; it raises where the promise is broken.

    Args:
        kind: of part.
        promise: what is tried.
        subjects: the part on each grid or kind of input.
    """

    kind: str
    promise: Promise
    subjects: tuple[Subject, ...] = attrs.field(repr=False)

    @property
    def name(self) -> str:
        """Of the check."""
        return self.promise.name

    def __call__(self) -> None:
        """Try it.

        Raises:
            ConformanceError: the promise is broken.
        """
        for subject in self.subjects:
            with _Naming(self, subject):
                self.promise.function(subject)

    def failure(self, subject: Subject, found: str) -> ConformanceError:
        """The error that says what was found."""
        told = (
            f"the {self.kind.replace('_', ' ')} {subject} breaks '{self.name}'",
            f"promised: {self.promise.text}",
            f"found:    {found}",
            f"see:      {self.promise.see}",
        )
        return ConformanceError("\n  ".join(told), (self.name,))

    def __str__(self) -> str:
        return self.name


class _Naming:
    """Tells a failure whose it is.

    A stranger's part may raise anything. That breaks the promise too, and stays as the cause.
    """

    def __init__(self, check: Check, subject: Subject) -> None:
        self._check, self._subject = check, subject

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, BrokenError):
            raise self._check.failure(self._subject, str(error)) from None
        if isinstance(error, Exception):
            found = f"{type(error).__name__}: {error}"
            raise self._check.failure(self._subject, found) from error
