"""Files that survive a crash: whole or absent, and on the disk when a call returns."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO, TextIO


def hush(stream: TextIO) -> None:
    """Send a stream whose reader went away (`| head`) to nowhere, for good.

    Else every later write would fail, and the interpreter's own last flush too.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def fsync_dir(folder: Path) -> None:
    """Put the names in `folder` on the disk; a rename is durable only after this."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write the file whole or not at all, whatever stops the process. Text is UTF-8.

    Raises:
        OSError: the old file, if any, is as it was.
    """
    data = content.encode() if isinstance(content, str) else content

    def fill(out: BinaryIO) -> None:
        out.write(data)

    _replace(path, fill)


def write_hashed(path: Path, chunks: Iterable[bytes | memoryview]) -> str:
    """Write a new file from its chunks, one in memory at a time, and put it on the disk.

    Returns:
        The file's SHA-256 as hex digits, of what was meant to be written.

    Raises:
        OSError: the file may be half-written.
    """
    digest = hashlib.sha256()
    with path.open("xb") as out:
        for chunk in chunks:
            digest.update(chunk)
            out.write(chunk)
            # The next chunk is made before the name is bound again: two would be alive at once.
            del chunk
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()


def cut_jsonl(path: Path, step: int) -> int:
    """Keep the lines of a JSONL file whose `"step"` is at most `step`.

    A run that resumes at `step` writes the later ones again. Lines that hold no JSON object with
    an integer `"step"` are dropped; a killed process leaves one at the end.

    Args:
        path: of the file. One that does not exist stays so.
        step: steps done at the checkpoint.

    Returns:
        How many lines were unreadable.
    """
    if not path.exists():
        return 0
    later, unreadable, unfinished = _survey(path, step)
    if later == 0 and unreadable == 0 and not unfinished:
        return 0

    def keep(out: BinaryIO) -> None:
        with path.open("rb") as lines:
            for line in lines:
                at = _step_of(line)
                if at is not None and at <= step:
                    out.write(line.rstrip(b"\n") + b"\n")

    _replace(path, keep)
    return unreadable


def _survey(path: Path, step: int) -> tuple[int, int, bool]:
    """Count lines after `step` and unreadable ones; say whether the last lacks its newline."""
    later = unreadable = 0
    line = b"\n"
    with path.open("rb") as lines:
        for line in lines:
            at = _step_of(line)
            unreadable += at is None
            later += at is not None and at > step
    return later, unreadable, not line.endswith(b"\n")


def _step_of(line: bytes) -> int | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    step = record.get("step") if isinstance(record, dict) else None
    return step if type(step) is int else None


def _replace(path: Path, fill: Callable[[BinaryIO], None]) -> None:
    # Host, process and thread: several writers of a shared cache never share a temporary file.
    writer = f"{socket.gethostname()}.{os.getpid()}.{threading.get_ident()}"
    temporary = path.with_name(f".{path.name}.{writer}.tmp")
    try:
        with temporary.open("wb") as out:
            fill(out)
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_dir(path.parent)
