"""The list of samples that could not be decoded."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from jepa.core.errors import DataError


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
    `replaced_by`. Several processes may append to the file at once; each reads what the others
    have written, so all see one count on a shared file system.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: set[int] = set()
        self._read = 0

    def add(self, step: int, bad: Iterable[BadSample]) -> int:
        """List the samples that are not listed yet; return how many those were.

        Raises:
            DataError: the file cannot be written.
        """
        self._catch_up()
        new = {sample.index: sample for sample in bad if sample.index not in self._known}
        if new:
            lines = [{"step": step, **attrs.asdict(sample)} for sample in new.values()]
            self._append("".join(json.dumps(line) + "\n" for line in lines).encode())
            self._known.update(new)
        return len(new)

    @property
    def count(self) -> int:
        """How many distinct samples are listed, by all processes."""
        self._catch_up()
        return len(self._known)

    def cut_back(self, step: int) -> None:
        """Keep what was found before `step` steps were done (lines of steps 0 to step - 1).

        One process does this, before any appends. The file is replaced at once, or not at all.
        """
        kept = [line.text for line in self._lines(0)[0] if line.step < step]
        if self.path.exists():
            temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
            with temporary.open("wb") as file:
                file.write(b"".join(kept))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self.path)
        self._known.clear()
        self._read = 0

    def excess(self, count: int, seen: int, total: int, max_fraction: float) -> str | None:
        """Why the run must stop, or None.

        Args:
            count: distinct bad samples.
            seen: samples that the run has loaded so far.
            total: samples of the data set.
            max_fraction: `data.max_bad_fraction`.

        A short run is judged by 1000 samples (or the whole set, where it is smaller), so that one
        bad file among the first few stops nothing.
        """
        judged = max(min(total, 1000), min(seen, total))
        if count <= max_fraction * judged:
            return None
        reasons = [f"  {line.name}: {line.reason}" for line in self._lines(0)[0][:3]]
        return "\n".join(
            [
                f"{count} samples cannot be decoded, {count / judged:.1%} of {judged}; "
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
            raise DataError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _catch_up(self) -> None:
        lines, self._read = self._lines(self._read)
        self._known.update(line.index for line in lines)

    def _lines(self, start: int) -> tuple[list[_Line], int]:
        """The whole lines after byte `start`, and where they end."""
        if not self.path.exists() or self.path.stat().st_size <= start:
            return [], start
        with self.path.open("rb") as file:
            file.seek(start)
            texts = [text for text in file.read().splitlines(keepends=True) if text[-1:] == b"\n"]
        parsed = [_Line.parse(text) for text in texts]
        return [line for line in parsed if line is not None], start + sum(map(len, texts))


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
