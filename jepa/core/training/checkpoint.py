"""Checkpoints: a folder a step, whole or absent, every byte of it checked before it is used.

A checkpoint is written under a temporary name, put on the disk, and renamed; one to be removed is
renamed first. So whatever carries a checkpoint's name was once complete, wherever a process was
killed. Tensors are safetensors and the rest is text: nothing is pickled.

One process at a time may write (`RunFolder.lock`), so temporary folders that it finds are left
over from processes that died.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs
from torch import Tensor

from jepa.core.errors import CheckpointError, one_of
from jepa.core.files import fsync_dir, write_hashed
from jepa.core.training.manifest import Entry, Manifest, faults, write_manifest
from jepa.core.training.tensorfile import file_size, write_tensors

_NAME = re.compile(r"step_(\d{8,})")
_TEMPORARY = ".tmp-"
_SLACK_BYTES = 1 << 20
"""For the manifest, the folder, and the unused ends of the files' last blocks."""


@attrs.frozen
class Checkpoint:
    """The state of a run after `step` steps, in the folder `path`."""

    path: Path
    step: int

    def tensor_file(self, stem: str) -> Path:
        """Where the tensors saved as `stem` lie."""
        return self.path / f"{stem}.safetensors"


def save(
    folder: Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, str],
) -> Checkpoint:
    """Write the checkpoint of a step, which is on the disk when this returns.

    A valid checkpoint of the same step is kept as it is; a damaged one is replaced.

    Args:
        folder: of the run's checkpoints; made where it is missing.
        step: steps done.
        tensors: file stem (`model`) -> its tensors by name. At most one is copied at a time.
        documents: file name (`config.yaml`) -> its text.

    Raises:
        CheckpointError: no room, or the disk refused. Earlier checkpoints are as they were, and
            nothing half-written is left.
    """
    final = Checkpoint(folder / f"step_{step:08d}", step)
    replaces = os.path.lexists(final.path)
    if replaces and not verify(final.path):
        return final
    temporary = _temporary(final.path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(folder)
        _check_room(folder, step, tensors, documents)
        temporary.mkdir()
        _fill(temporary, step, tensors, documents)
        if replaces:
            _remove(final.path)
        temporary.rename(final.path)
        fsync_dir(folder)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint of step {step} could not be written to {folder}: {error}; "
            "earlier checkpoints are as they were"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def check_place(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Refuse a folder that no checkpoint could be written to, before hours of training.

    Raises:
        CheckpointError: it cannot be made, or has no room for one checkpoint.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_room(folder, 0, tensors, {})
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot hold checkpoints: {error}") from error


def checkpoints(folder: Path) -> list[Checkpoint]:
    """Every checkpoint in `folder`, valid or not, oldest first."""
    if not folder.is_dir():
        return []
    named = ((path, _NAME.fullmatch(path.name)) for path in folder.iterdir())
    found = [Checkpoint(path, int(match[1])) for path, match in named if match]
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def verify(path: Path) -> list[str]:
    """What is wrong with a checkpoint, a line a fault; empty where it is valid.

    Reads every byte: a file that is missing, unexpected, cut or changed in one bit is a fault.
    """
    match = _NAME.fullmatch(path.name)
    if match is None:
        return [f"{path.name}: no checkpoint's name, allowed: step_ and eight or more digits"]
    return faults(path, int(match[1]))


def newest_valid(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest valid checkpoint, and a report on each damaged one that is newer.

    Returns:
        (None, []) where there is no checkpoint at all.

    Raises:
        CheckpointError: there are checkpoints and none is valid. Starting anew is a decision for
            people.
    """
    reports: list[str] = []
    for checkpoint in reversed(checkpoints(folder)):
        wrong = verify(checkpoint.path)
        if not wrong:
            return checkpoint, reports
        reports.append(f"checkpoint {checkpoint.path} is damaged: {'; '.join(wrong)}")
    if reports:
        listed = "\n".join(f"  {report}" for report in reports)
        raise CheckpointError(
            f"no checkpoint in {folder} is valid; restore one, or start anew in another folder\n"
            + listed
        )
    return None, reports


def prune(
    folder: Path, keep_last: int, keep_every: int | None, *, trusted: Checkpoint | None = None
) -> list[Checkpoint]:
    """Remove old checkpoints; a valid one always stays.

    Args:
        folder: of the run's checkpoints.
        keep_last: how many of the newest stay.
        keep_every: those whose step is a multiple of this stay too.
        trusted: one that this process has just written, so need not read again to know it valid.

    Returns:
        Those that were removed.

    Raises:
        CheckpointError: the disk refused.
    """
    present = checkpoints(folder)
    if trusted is not None:
        # Damaged ones that a resumed run passed over lie ahead, and are replaced in their turn.
        present = [checkpoint for checkpoint in present if checkpoint.step <= trusted.step]
    kept = [
        checkpoint
        for place, checkpoint in enumerate(present)
        if place >= len(present) - keep_last
        or (keep_every is not None and checkpoint.step % keep_every == 0)
    ]
    removed = [checkpoint for checkpoint in present if checkpoint not in kept]
    if not removed:
        return []
    # Newest first over the kept ones, then over the others: the first valid one must stay.
    for checkpoint in (*reversed(kept), *reversed(removed)):
        if checkpoint == trusted or not verify(checkpoint.path):
            removed = [other for other in removed if other != checkpoint]
            break
    else:
        return []
    try:
        for checkpoint in removed:
            _remove(checkpoint.path)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot remove: {error}") from error
    return removed


def read_document(checkpoint: Checkpoint, name: str) -> str:
    """The text of one of the checkpoint's documents.

    Raises:
        CheckpointError: there is none of this name, or it cannot be read.
    """
    try:
        return (checkpoint.path / name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        present = [path.name for path in checkpoint.path.glob("*")]
        raise CheckpointError(f"{checkpoint.path}: {one_of(name, present)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{checkpoint.path / name} cannot be read: {error}") from error


def _fill(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, str],
) -> None:
    digests = {
        f"{stem}.safetensors": write_tensors(folder / f"{stem}.safetensors", named, _meta(step))
        for stem, named in tensors.items()
    }
    for name, text in documents.items():
        digests[name] = write_hashed(folder / name, [text.encode()])
    files = {name: Entry((folder / name).stat().st_size, sha) for name, sha in digests.items()}
    write_manifest(folder, Manifest(step, files))
    fsync_dir(folder)


def _meta(step: int) -> dict[str, str]:
    # Other libraries' loaders ask for `format`.
    return {"format": "pt", "step": str(step)}


def _check_room(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    documents: Mapping[str, str],
) -> None:
    need = sum(file_size(named, _meta(step)) for named in tensors.values()) + _SLACK_BYTES
    need += sum(len(text.encode()) for text in documents.values())
    free = shutil.disk_usage(folder).free
    if free < need:
        raise CheckpointError(
            f"no room for {_of(step)} in {folder}: it needs {need / 1e9:.3f} GB, "
            f"free are {free / 1e9:.3f} GB; earlier checkpoints are as they were"
        )


def _of(step: int) -> str:
    return f"the checkpoint of step {step}" if step else "a checkpoint"


def _temporary(path: Path) -> Path:
    return path.with_name(f"{_TEMPORARY}{path.name}-{os.getpid()}")


def _remove(path: Path) -> None:
    """Take the name away first: what is half-removed must not look like a checkpoint."""
    doomed = path.with_name(f"{_TEMPORARY}removed-{path.name}-{os.getpid()}")
    path.rename(doomed)
    fsync_dir(path.parent)
    _delete(doomed)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        # What cannot be removed now (a file still open on NFS) goes at the next save.
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _clear_leftovers(folder: Path) -> None:
    for path in folder.glob(f"{_TEMPORARY}*"):
        _delete(path)
