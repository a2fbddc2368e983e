"""Cuts TensorBoard's event files back to a step."""

from __future__ import annotations

import io
from pathlib import Path

from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.summary.writer.record_writer import RecordWriter

from jepa.core.files import write_atomic


def cut_events(folder: Path, step: int) -> None:
    """Drop the events after `step` from all event files in a folder.

    A run that resumes at `step` writes the later ones again. TensorBoard's own `purge_step` hides
    them only from TensorBoard, and only once the new file is read. A file ends at its first
    damaged record, such as the torn one that a killed process leaves; what lies behind has lost
    its frame. Files that need no cut stay untouched.

    Args:
        folder: of the event files.
        step: the last to keep; -1 keeps none.

    Raises:
        OSError: the files stay as they were.
    """
    for path in sorted(folder.glob("*tfevents*")):
        kept = _kept(path, step)
        if len(kept) != path.stat().st_size:
            write_atomic(path, kept)


def _kept(path: Path, step: int) -> bytes:
    """The records of events up to `step`, framed as in the file."""
    out = io.BytesIO()
    writer = RecordWriter(out)
    for record in RawEventFileLoader(str(path)).Load():
        event = Event.FromString(record)
        if event.step <= step or event.HasField("file_version"):
            writer.write(record)
    return out.getvalue()
