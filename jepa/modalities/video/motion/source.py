"""A camera that moves over photographs, as a source of clips."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from pathlib import Path
from typing import final

import attrs
import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from jepa.core.data.listing import FileList
from jepa.core.data.source import Item, Measured, Place
from jepa.core.errors import DataError, one_of
from jepa.core.rng import SampleRng, Stream, permutation
from jepa.core.settings import FieldError, check, non_negative, positive
from jepa.modalities.video.motion.camera import Camera, Move, Shot, aim, shoot
from jepa.modalities.video.still import STILLS, read_still

VERSION = "motion 1"
"""Of everything that a clip follows from; a change of that needs another."""

_STEEPEST = 1.2
"""Half the angle of the whole turn, in radians: beyond that, windows get needlessly small."""
_DRAWS = 4


@final
class Motion(Measured):
    """Clips of a camera that pans, zooms or turns over photographs; the label says which.

    Photographs are the files below `data.root` (or its sub-folder `data.split`), at any depth. So
    a probe can ask an encoder how things move, without a labelled set of clips. Clip i is a
    function of (seed, i) and of the photographs. Each of the eight moves has as many clips as any
    other, and the middle of a clip tells nothing of the move. Labels name the way of the camera: in
    `pan_left`, what is seen goes to the right.

    Quantity: `speed`, the mean way of a pixel from frame to frame, as a share of the shorter side.

    Items are arrays: uint8 [frames, H, W, 3].
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """Length, size and speed of clips, and how many."""

        frames: int = attrs.field(default=16, validator=check("2 or more", lambda v: v >= 2))
        """Frames of a clip."""
        size: tuple[int, int] = attrs.field(
            default=(64, 64), validator=check("two sides of at least 4", lambda v: min(v) >= 4)
        )
        """Height and width in pixels."""
        speed: tuple[float, float] = attrs.field(
            default=(0.01, 0.03),
            validator=check("two speeds above 0, in order", lambda v: 0 < v[0] <= v[1]),
        )
        """From and to; the mean way of a pixel from frame to frame, as a share of the shorter
        side."""
        clips: int | None = attrs.field(default=None, validator=positive)
        """Clips of the source; None: as many as photographs."""
        seed: int = attrs.field(default=0, validator=non_negative)
        """Of the clips, whatever the run's."""

        def __attrs_post_init__(self) -> None:
            camera = self.camera
            turned = camera.rate(camera.fastest) * camera.half
            if turned > _STEEPEST:
                most = self.speed[1] * _STEEPEST / turned
                raise FieldError(
                    "speed",
                    f"found up to {self.speed[1]:g}, allowed: at most {most:.3g} over "
                    f"{self.frames} frames, or little of a photograph is seen",
                )

        @property
        def camera(self) -> Camera:
            """What clips are filmed with."""
            return Camera(self.frames, self.size, self.speed[1])

    def __init__(self, config: Config, place: Place) -> None:
        self._config = config
        self._files = FileList.of(attrs.evolve(place, extensions=STILLS))

    def __len__(self) -> int:
        return self._config.clips or len(self._files.names)

    def item(self, index: int) -> Item:
        """One clip: uint8 [frames, H, W, 3].

        Raises:
            DecodeError: its photograph cannot be read.
        """
        camera, name = self._config.camera, self._photograph(index)
        pixels = _pixels(self._files.folder / name, camera)
        shot = self.shot(index, (pixels.shape[1], pixels.shape[2]))
        clip = shoot(camera, pixels, shot).numpy()
        return Item(clip, f"{name} {shot.move.name.lower()} {index}", int(shot.move))

    def shot(self, index: int, photograph: tuple[int, int]) -> Shot:
        """What the camera does in a clip, over a photograph of these sides."""
        move, speed, draws = self._drawn(index)
        return aim(self._config.camera, photograph, move, speed, draws)

    @property
    def classes(self) -> tuple[str, ...]:
        """The moves."""
        return tuple(move.name.lower() for move in Move)

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64."""
        return np.arange(len(self)) % len(Move)

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what is measured."""
        return ("speed",)

    def quantity(self, name: str) -> np.ndarray:
        """One number a clip: [n] float64."""
        if name not in self.quantities:
            raise DataError(f"quantity of motion: {one_of(name, self.quantities)}")
        return np.array([self._drawn(index)[1] for index in range(len(self))])

    def fingerprint(self) -> str:
        """A digest of the photographs' paths and of the settings."""
        text = f"{VERSION} {self._files.names.digest()} {self._config}"
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    def groups(self) -> np.ndarray:
        """The photograph of each clip: [n] int64."""
        count = len(self._files.names)
        rounds = [_order(self._config.seed, turn, count) for turn in range(-(-len(self) // count))]
        return np.concatenate(rounds)[: len(self)].astype(np.int64)

    def _photograph(self, index: int) -> str:
        """Each photograph once in a round, in another order each round."""
        names = self._files.names
        turn, place = divmod(index, len(names))
        return os.fsdecode(names[int(_order(self._config.seed, turn, len(names))[place])])

    def _drawn(self, index: int) -> tuple[Move, float, tuple[float, ...]]:
        config = self._config
        rng = SampleRng(config.seed, 0, index, Stream.SAMPLES)
        speed, *draws = rng.uniforms(_DRAWS).tolist()
        low, high = config.speed
        return Move(index % len(Move)), low + (high - low) * speed, tuple(draws)


@functools.lru_cache(maxsize=32)  # a shuffled epoch goes to and fro between all rounds
def _order(seed: int, turn: int, count: int) -> np.ndarray:
    return permutation(seed, turn, count)


def _pixels(path: Path, camera: Camera) -> Tensor:
    """A photograph: uint8 [3, h, w]. Large JPEGs are read at a part of their size.

    Raises:
        DecodeError: it cannot be read.
    """
    photograph = read_still(path, 2 * math.ceil(max(camera.room)))
    return rearrange(torch.from_numpy(np.array(photograph)), "h w C -> C h w")
