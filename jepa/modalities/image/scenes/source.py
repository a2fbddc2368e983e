"""Rendered scenes as a source."""

from __future__ import annotations

import hashlib
from functools import partial
from itertools import pairwise
from typing import Any, Literal, final

import attrs
import numpy as np

from jepa.core.data.source import Item, Measured, Place
from jepa.core.errors import DataError, one_of
from jepa.core.settings import FieldError, check, non_negative, positive
from jepa.modalities.image.scenes.cast import cast
from jepa.modalities.image.scenes.layout import Scene, draw
from jepa.modalities.image.scenes.palette import COLOURS
from jepa.modalities.image.scenes.render import render
from jepa.modalities.image.scenes.solids import Shape
from jepa.modalities.image.scenes.store import Pictures, Record, table

VERSION = "scenes 1"
"""Of everything that a scene or its picture follows from; a change of those needs another."""
NEAREST = (7.55, 7.8, 8.05, 8.35, 8.8)
"""Borders between the classes of the nearest distance, in world units: six classes of one size."""

LABELLED = 200_000
"""Scenes of a split that may have labels: a run that asks for them would wait for minutes."""

_SPLITS = ("train", "test")
_FACTS = ("count", "nearest", "shape", "colour", "metal", "hidden")
_QUANTITIES = ("count", "nearest", "metal", "hidden")

Label = Literal["count", "nearest", "shape", "colour"]


@final
class Scenes(Measured):
    """CLEVR-like pictures, drawn by a seed: cubes, spheres and cylinders on a plane.

    After CLEVR (Johnson et al. 2017, arXiv 1612.06890), with VTAB's two tasks on it, counting and
    distance (Zhai et al. 2019, arXiv 1910.04867). Written anew; no picture is theirs.

    Sample i of a split is a function of (seed, split, i). Nothing is drawn before it is asked for,
    so `samples` may be in the millions, with `label: null`. Labels of all samples are found once
    and kept in the cache; training does not need them.

    Quantities: `count`; `nearest`, the distance from the camera to the nearest point of any object
    in world units (a large sphere has a radius of 0.76); `metal`, the number of shining objects;
    `hidden`, the share of its outline that the most hidden object loses to others.
    """

    takes_root = False

    @attrs.frozen(kw_only=True)
    class Config:
        """Which scenes, how large, and what their label is."""

        size: int = attrs.field(
            default=64, validator=check("32 to 512 pixels", lambda v: 32 <= v <= 512)
        )
        """Pixels a side. Layout and labels do not depend on it."""
        samples: int = attrs.field(default=20_000, validator=positive)
        """Scenes of the split `train`."""
        test_samples: int = attrs.field(default=2_000, validator=positive)
        """Scenes of the split `test`."""
        seed: int = attrs.field(default=0, validator=non_negative)
        """Of the scenes, whatever the run's."""
        min_objects: int = attrs.field(
            default=3, validator=check("1 to 10", lambda v: 1 <= v <= 10)
        )
        """Fewest objects of a scene."""
        max_objects: int = attrs.field(
            default=10, validator=check("1 to 10", lambda v: 1 <= v <= 10)
        )
        """Most objects; more could not all be seen."""
        label: Label | None = "count"
        """`shape` and `colour` are those of the object nearest to the camera; None: no labels."""
        cached: int = attrs.field(default=50_000, validator=non_negative)
        """Pictures of a split that are kept on the disk; those behind are rendered each time."""

        def __attrs_post_init__(self) -> None:
            for name, found in (("samples", self.samples), ("test_samples", self.test_samples)):
                if self.label is not None and found > LABELLED:
                    raise FieldError(
                        name,
                        f"found {found}, allowed: at most {LABELLED} with labels, which take a "
                        "millisecond a scene to find; any number with label: null",
                    )
            if self.min_objects > self.max_objects:
                raise FieldError(
                    "min_objects",
                    f"found {self.min_objects}, allowed: at most max_objects, {self.max_objects}",
                )

    def __init__(self, config: Config, place: Place) -> None:
        split = place.split or "train"
        if split not in _SPLITS:
            raise DataError(f"data.split of scenes: {one_of(split, _SPLITS)}")
        self._config, self._place, self._split = config, place, split
        self._folder = place.cache / "scenes" / _digest(self._origin)
        pictures = self._folder / f"pictures_{config.size}.bin"
        self._pictures = Pictures(pictures, config.size, len(_FACTS), config.cached)
        self._table: np.ndarray | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(Scenes, place=self._place), (self._config,)

    def __len__(self) -> int:
        return self._config.samples if self._split == "train" else self._config.test_samples

    def item(self, index: int) -> Item:
        """One picture: uint8 [size, size, 3]."""
        record = self._pictures.get(index, self._make)
        labels = self._labels(record.facts[None])
        label = None if labels is None else int(labels[0])
        return Item(record.picture, f"scenes/{self._split}/{index}", label)

    def scene(self, index: int) -> Scene:
        """What a picture is made of."""
        config = self._config
        split = _SPLITS.index(self._split)
        return draw(config.seed, split, index, config.min_objects, config.max_objects)

    def depth(self, index: int) -> np.ndarray:
        """How far it is from the camera to what each pixel shows: [size, size] float32.

        In world units, along the line through the pixel's centre; the pixel [y, x] is that of the
        picture. The plane fills whatever no object does, so all distances are finite.
        """
        scene, size = self.scene(index), self._config.size
        seen = cast(scene.camera, scene.solids, size)
        depth: np.ndarray = seen.depth * scene.camera.rays(size).length
        return depth

    def ids(self, index: int) -> np.ndarray:
        """Which of the scene's `solids` each pixel's centre shows, -1 the plane: [size, size]."""
        scene = self.scene(index)
        return cast(scene.camera, scene.solids, self._config.size).ids

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes of the label that is set; empty without one."""
        config = self._config
        if config.label is None:
            return ()
        if config.label == "count":
            return tuple(map(str, range(config.min_objects, config.max_objects + 1)))
        if config.label == "shape":
            return tuple(shape.name.lower() for shape in Shape)
        if config.label == "colour":
            return COLOURS
        middle = (f"{low:g} to {high:g}" for low, high in pairwise(NEAREST))
        return (f"below {NEAREST[0]:g}", *middle, f"from {NEAREST[-1]:g}")

    def labels(self) -> np.ndarray | None:
        """Labels [n] int64, or None. The first time, all scenes are laid out: 20 s for 20,000."""
        return None if self._config.label is None else self._labels(self._facts())

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what is measured."""
        return _QUANTITIES

    def quantity(self, name: str) -> np.ndarray:
        """One number a scene: [n] float64."""
        if name not in _QUANTITIES:
            raise DataError(f"quantity of scenes: {one_of(name, _QUANTITIES)}")
        return self._facts()[:, _FACTS.index(name)].copy()

    def fingerprint(self) -> str:
        """A digest of the settings and of the renderer's version."""
        config = self._config
        return _digest(f"{self._origin} {config.size} {len(self)} {config.label}")

    @property
    def _origin(self) -> str:
        """All that a scene is a function of, but for its index."""
        config = self._config
        objects = f"{config.min_objects} to {config.max_objects}"
        return f"{VERSION} {self._split} seed {config.seed} objects {objects}"

    def _make(self, index: int) -> Record:
        scene = self.scene(index)
        return Record(render(scene, self._config.size), np.array(_facts(scene)))

    def _facts(self) -> np.ndarray:
        """[n, F] float64."""
        if self._table is None:
            self._table = table(self._folder, len(self), lambda index: _facts(self.scene(index)))
        return self._table

    def _labels(self, facts: np.ndarray) -> np.ndarray | None:
        """Labels of scenes by their facts: [m, F] -> [m] int64, or None."""
        label = self._config.label
        if label is None:
            return None
        values = facts[:, _FACTS.index(label)]
        if label == "nearest":
            return np.searchsorted(NEAREST, values, side="right").astype(np.int64)
        return values.astype(np.int64) - (self._config.min_objects if label == "count" else 0)


def _facts(scene: Scene) -> tuple[float, ...]:
    """The numbers that `_FACTS` names."""
    distances = scene.distances()
    nearest = scene.solids[int(np.argmin(distances))]
    metal = sum(solid.metal for solid in scene.solids)
    hidden = 1 - min(scene.shown)
    colour = nearest.colour
    return len(distances), min(distances), int(nearest.shape), colour, metal, hidden


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
