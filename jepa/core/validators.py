"""Validators of single settings. A config reports every one that fails, with its path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def show(value: Any) -> str:
    """A value as an error shows it: in YAML's words, cut to 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= 60 else text[:57] + "..."


class FieldError(ValueError):
    """A value out of bounds; knows the field, so that the fault can say its path."""

    def __init__(self, name: str, message: str) -> None:
        self.name = name
        self.message = message
        super().__init__(f"{name}: {message}")


def check(allowed: str, accept: Callable[[Any], bool]) -> Callable[[Any, Any, Any], None]:
    """An attrs validator: `accept` decides, `allowed` says in words what it accepts.

    None passes, so that optional fields need no case of their own.
    """

    def validate(_: Any, attribute: Any, value: Any) -> None:
        if value is not None and not accept(value):
            raise FieldError(attribute.name, f"found {show(value)}, allowed: {allowed}")

    return validate


positive = check("above 0", lambda v: v > 0)
non_negative = check("0 or more", lambda v: v >= 0)
fraction = check("0 to 1", lambda v: 0 <= v <= 1)
positive_all = check("one or more numbers above 0", lambda v: len(v) > 0 and min(v) > 0)
positive_range = check("two numbers, 0 < low <= high", lambda v: len(v) == 2 and 0 < v[0] <= v[1])
scale_range = check(
    "two fractions, 0 < low <= high <= 1", lambda v: len(v) == 2 and 0 < v[0] <= v[1] <= 1
)
