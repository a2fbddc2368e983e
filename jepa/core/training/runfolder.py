"""The folder that a run writes to: its lock, and the markers of how the run ended."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, final

from jepa.core.errors import TrainingError
from jepa.core.files import fsync_dir, write_atomic

Mark = Literal["completed", "interrupted"]

MARKERS: Final[dict[Mark, str]] = {"completed": "COMPLETED", "interrupted": "INTERRUPTED"}
"""File name of each marker; a requeue script asks `test -e OUTPUT/INTERRUPTED`."""


@final
class RunFolder:
    """OUTPUT of a run. Made where it is missing.

    Args:
        path: of the folder.

    Raises:
        TrainingError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{path}: cannot be the output folder: {error}") from error

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def lock(self) -> None:
        """Claim the folder for this process until it ends, however it ends.

        Raises:
            TrainingError: another process holds it (the text says which), or it cannot be locked.
        """
        if self._lock is not None:
            return
        try:
            handle = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be locked: {error}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(handle)
            os.close(handle)
            raise TrainingError(
                f"{self.path}: {holder} trains into this folder; wait for it, or choose another "
                "with --output"
            ) from None
        except OSError as error:
            os.close(handle)
            raise TrainingError(f"{self.path}: cannot be locked: {error}") from error
        self._lock = handle
        # A forked worker shares the lock, and would hold it on when this process is killed.
        os.register_at_fork(after_in_child=self._drop)
        text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": _now()})
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{text}\n".encode(), 0)

    def unlock(self) -> None:
        """Give the folder back; the end of the process does it too."""
        self._drop()

    def _drop(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def mark(self, outcome: Mark, step: int) -> None:
        """Say how the run ended, in a file with one line of JSON; other markers go.

        Raises:
            TrainingError: the disk refused.
        """
        self.clear_marks()
        text = json.dumps({"step": step, "time": _now()}) + "\n"
        try:
            write_atomic(self.path / MARKERS[outcome], text)
        except OSError as error:
            raise TrainingError(f"{self.path}: cannot be marked {outcome}: {error}") from error

    def clear_marks(self) -> None:
        """Remove the markers: the run goes on.

        Raises:
            TrainingError: the disk refused.
        """
        try:
            for name in MARKERS.values():
                (self.path / name).unlink(missing_ok=True)
            fsync_dir(self.path)
        except OSError as error:
            raise TrainingError(f"{self.path}: its markers cannot be removed: {error}") from error


def _holder(handle: int) -> str:
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {holder['pid']} on {holder['host']} (since {holder['since']})"
    except (ValueError, KeyError, TypeError):
        return "another process"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
