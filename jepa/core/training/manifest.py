"""What a checkpoint's files should be: sizes and SHA-256 digests, in `manifest.json`.

The manifest holds its own digest, and its text must be exactly what its content gives when
written, so that no byte of it can change unnoticed either.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from jepa.core.errors import CheckpointError
from jepa.core.files import write_hashed

NAME = "manifest.json"
_FORMAT = 1


@attrs.frozen
class Entry:
    """One file: its bytes and their SHA-256 as hex digits."""

    size: int
    sha256: str


@attrs.frozen
class Manifest:
    """The files of the checkpoint of one step, by name."""

    step: int
    files: Mapping[str, Entry]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest of the files in `folder` and put it on the disk."""
    files = {name: attrs.asdict(entry) for name, entry in sorted(manifest.files.items())}
    body = {"format": _FORMAT, "step": manifest.step, "files": files}
    write_hashed(folder / NAME, [_text({**body, "sha256": _digest(body)})])


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a checkpoint.

    Raises:
        CheckpointError: it is missing, damaged, or of another format.
    """
    try:
        raw = (folder / NAME).read_bytes()
    except OSError as error:
        raise CheckpointError(f"{NAME}: cannot be read: {error}") from error
    try:
        content = json.loads(raw)
        body = {key: value for key, value in content.items() if key != "sha256"}
        intact = raw == _text(content) and content["sha256"] == _digest(body)
    except (ValueError, AttributeError, KeyError, RecursionError):
        intact = False
    if not intact:
        raise CheckpointError(f"{NAME}: damaged, its content differs from its digest")
    if body["format"] != _FORMAT:
        raise CheckpointError(f"{NAME}: found format {body['format']}, allowed: {_FORMAT}")
    files = {name: Entry(**entry) for name, entry in body["files"].items()}
    return Manifest(body["step"], files)


def faults(folder: Path, step: int) -> list[str]:
    """What is wrong with the checkpoint of `step` in `folder`; reads every byte of it."""
    try:
        manifest = read_manifest(folder)
        present = {path.name for path in folder.iterdir()}
    except CheckpointError as error:
        return [str(error)]
    found = [f"{name}: unexpected" for name in sorted(present - manifest.files.keys() - {NAME})]
    if manifest.step != step:
        found.append(f"{NAME}: is of step {manifest.step}")
    for name, entry in manifest.files.items():
        found += _file_faults(folder / name, entry)
    return found


def _file_faults(path: Path, entry: Entry) -> list[str]:
    try:
        size = path.stat().st_size
        if size != entry.size:
            return [f"{path.name}: found {size} bytes, written were {entry.size}"]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return [f"{path.name}: missing"]
    except OSError as error:
        return [f"{path.name}: cannot be read: {error}"]
    return [] if digest == entry.sha256 else [f"{path.name}: its content differs from its digest"]


def _text(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _digest(body: Any) -> str:
    return hashlib.sha256(_text(body)).hexdigest()
