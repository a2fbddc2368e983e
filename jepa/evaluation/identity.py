"""What tells the samples of a source from others that bear the same names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from jepa.core.data.source import Source
from jepa.core.errors import DecodeError
from jepa.core.modality import Whole, whole

_LOOKED_AT = 16
"""Samples that are no files of their own and whose content is read."""


def identity(source: Source, indices: np.ndarray | None = None) -> str:
    """A digest of a source's fingerprint and of what its samples hold.

    Of files it takes the size and the time of the last change, of folders the names besides, for
    each file in them; of samples that a source brings otherwise (arrays, tars, drawn ones) the
    content of a few, spread over all.

    Args:
        source: of raw samples.
        indices: which of them count, [k]; None: all.
    """
    chosen = np.arange(len(source)) if indices is None else indices
    digest = hashlib.sha256(source.fingerprint().encode())
    if len(chosen) and isinstance(_content(source, int(chosen[0])), Path):
        for index in chosen.tolist():
            digest.update(_file(_content(source, index)))
        return digest.hexdigest()
    places = np.linspace(0, len(chosen) - 1, min(_LOOKED_AT, len(chosen)))
    for index in chosen[places.astype(np.int64)].tolist():
        content = _content(source, index)
        if isinstance(content, bytes | np.ndarray):
            held = content if isinstance(content, bytes) else np.ascontiguousarray(content).data
            digest.update(hashlib.sha256(held).digest())
    return digest.hexdigest()


def _content(source: Source, index: int) -> Whole | None:
    """What a source gives for a sample, or for what that is a part of (which part, its fingerprint
    says); None where it cannot be read."""
    try:
        return whole(source.item(index).content)
    except (DecodeError, OSError):
        return None


def _file(path: Whole | None) -> bytes:
    if not isinstance(path, Path):
        return b"-"
    try:
        if path.is_dir():
            inside = sorted(os.scandir(path), key=lambda entry: entry.name)
            return b"".join(os.fsencode(e.name) + b" " + _stamp(e.stat()) for e in inside)
        return _stamp(path.stat())
    except OSError:
        return b"-"


def _stamp(found: os.stat_result) -> bytes:
    return f"{found.st_size} {found.st_mtime_ns};".encode()
