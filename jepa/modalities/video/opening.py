"""From content of any kind to a film."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from jepa.core.modality import Content, Stretch
from jepa.modalities.video.container import FileFilm
from jepa.modalities.video.film import ArrayFilm, Film, PartOfFilm
from jepa.modalities.video.folder import FolderFilm


def open_film(content: Content) -> Film:
    """A film of any kind. Files are open only while frames are read.

    Args:
        content: a file, a file's bytes, a folder of frames, an array uint8 [T, H, W, 3],
            [T, H, W, 1] or [T, H, W], or a stretch of one of them.

    Raises:
        DecodeError: no film, an empty or a damaged one.
        DataError: the package that reads files is missing.
    """
    if isinstance(content, Stretch):
        film = open_film(content.content)
        return PartOfFilm(film, content.span(film.length))
    if isinstance(content, np.ndarray):
        return ArrayFilm(content)
    if isinstance(content, Path) and content.is_dir():
        return FolderFilm(content)
    return FileFilm(content)
