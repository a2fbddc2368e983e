"""Errors that a user can act on: where, what was found, what is allowed, what was perhaps meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import attrs


class JepaError(Exception):
    """Any error that the command line shows as its message alone, without a traceback."""


@attrs.frozen
class Fault:
    """One fault of a config: `path` is dotted (`model.encoder.depth`), `message` says the rest."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(JepaError):
    """Every fault of a config at once."""

    def __init__(self, faults: Sequence[Fault] | Fault | str, where: str = "config") -> None:
        if isinstance(faults, str):
            faults = Fault("", faults)
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        self.where = where
        super().__init__(where, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.where}: {self.faults[0]}"
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        return f"{self.where}: {len(self.faults)} faults\n{lines}"


class PluginError(JepaError):
    """A plugin that is missing, ambiguous, broken or not what its group promises."""


class DataError(JepaError):
    """A source of samples that is missing, empty, or too damaged to train on."""


class DecodeError(JepaError):
    """One sample that cannot be decoded. The loader replaces it and counts it."""


class CheckpointError(JepaError):
    """A checkpoint that is damaged, or does not belong to this run."""


class TrainingError(JepaError):
    """A run that cannot go on: non-finite losses, out of memory."""


def did_you_mean(found: str, allowed: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest of `allowed`, or an empty string."""
    nearest = difflib.get_close_matches(found, list(allowed), n=1, cutoff=0.6)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def one_of(found: str, allowed: Iterable[str]) -> str:
    """Say what was found, what is allowed, and which was perhaps meant."""
    allowed = sorted(allowed)
    listed = ", ".join(allowed) if allowed else "nothing is registered"
    return f"found '{found}', allowed: {listed}{did_you_mean(found, allowed)}"
