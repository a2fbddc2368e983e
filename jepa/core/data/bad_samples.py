"""The list of samples that could not be decoded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from jepa.core.errors import DataError
from jepa.core.files import write_atomic


@attrs.frozen
class BadSample:
    """A sample that could not be decoded, why, and the index of the one that took its place."""

    index: int
    name: str
    reason: str
    replaced_by: int


class BadSamples:
    """OUTPUT/bad_samples.jsonl: one line a bad sample, each index once.

    A line holds `step` (counted from 0, as the loader counts), `index`, `name`, `reason` and
    `replaced_by`. The first process writes it for all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known = {line.index for line in self._lines()}

    def add(self, step: int, bad: Iterable[BadSample]) -> int:
        """List the samples that are not listed yet; return how many those were.

        Raises:
            DataError: the file cannot be written.
        """
        new = {sample.index: sample for sample in bad if sample.index not in self._known}
        if new:
            lines = [{"step": step, **attrs.asdict(sample)} for sample in new.values()]
            self._append("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._known.update(new)
        return len(new)

    @property
    def count(self) -> int:
        """How many distinct samples are listed."""
        return len(self._known)

    def cut_back(self, step: int) -> None:
        """Keep what was found before `step` steps were done (lines of steps 0 to step - 1).

        Raises:
            DataError: the file cannot be written.
        """
        kept = [line for line in self._lines() if line.step < step]
        if self.path.exists():
            try:
                write_atomic(self.path, b"".join(line.text for line in kept))
            except OSError as error:
                raise _unwritable(self.path, error) from error
        self._known = {line.index for line in kept}

    def excess(self, seen: int, total: int, max_fraction: float) -> str | None:
        """Why the run must stop, or None.

        Args:
            seen: samples that the run has loaded so far.
            total: samples of the data set.
            max_fraction: `data.max_bad_fraction`.

        A short run is judged by 1000 samples (or the whole set, where it is smaller), so that one
        bad file among the first few stops nothing.
        """
        judged = max(min(total, 1000), min(seen, total))
        if self.count <= max_fraction * judged:
            return None
        reasons = [f"  {line.name}: {line.reason}" for line in self._lines()[:3]]
        return "\n".join(
            [
                f"{self.count} samples cannot be decoded, {self.count / judged:.1%} of {judged}; "
                f"data.max_bad_fraction allows {max_fraction:.1%}. All are listed in {self.path}. "
                "The first:",
                *reasons,
            ]
        )

    def _append(self, text: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, text)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def _lines(self) -> list[_Line]:
        """The whole lines of the file; one that a kill has torn is passed over."""
        if not self.path.exists():
            return []
        texts = self.path.read_bytes().splitlines(keepends=True)
        parsed = [_Line.parse(text) for text in texts if text.endswith(b"\n")]
        return [line for line in parsed if line is not None]


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be written: {error.strerror}")


@attrs.frozen
class _Line:
    step: int
    index: int
    name: str
    reason: str
    text: bytes

    @classmethod
    def parse(cls, text: bytes) -> _Line | None:
        """One line, or None where a kill has torn it."""
        try:
            found = json.loads(text)
            return cls(found["step"], found["index"], found["name"], found["reason"], text)
        except (ValueError, KeyError, TypeError):
            return None
