"""Checks of sources."""

from __future__ import annotations

import functools
import pickle
import tempfile
from pathlib import Path

import attrs
import numpy as np

from jepa.core.data.source import Item, Measured, Place, Source, wholes_of
from jepa.core.errors import DataError
from jepa.core.modality import Content, Stretch, whole
from jepa.core.parts import parts
from jepa.testing.generators import untouched
from jepa.testing.promises import Promise, Subject, expect, promise

_SOURCE = "jepa.core.Source"
_LOOKED_AT = 20
_SMALL = 2**20


def _place(subject: Subject) -> Place:
    setup = subject.setup
    return Place(
        root=setup.root,
        split=setup.split,
        extensions=setup.extensions,
        cache=Path(_cache().name),
    )


@functools.cache
def _cache() -> tempfile.TemporaryDirectory[str]:
    """A folder for indices that is gone when the process ends."""
    return tempfile.TemporaryDirectory(prefix="jepa-conformance-")


def _made(subject: Subject) -> Source:
    made: Source = subject.cls(subject.config, place=_place(subject))
    return made


def _indices(source: Source) -> list[int]:
    """A few indices, the first and the last among them."""
    return sorted({*np.linspace(0, len(source) - 1, _LOOKED_AT).astype(int).tolist()})


def _same(one: Item, other: Item) -> bool:
    return (one.name, one.label) == (other.name, other.label) and _equal(one.content, other.content)


def _equal(one: Content, other: Content) -> bool:
    if isinstance(one, Stretch) and isinstance(other, Stretch):
        ends = (one.begin, one.end) == (other.begin, other.end)
        return ends and _equal(one.content, other.content)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    return type(one) is type(other) and bool(one == other)


@promise(f"{_SOURCE}.item", basic=True)
def items(subject: Subject) -> None:
    """Items 0 to len - 1: a path, bytes, an array or a stretch, a name, and a label or None."""
    source = _made(subject)
    expect(len(source) > 0, "no sample: a source without any refuses by DataError when built")
    for index in _indices(source):
        item = source.item(index)
        expect(isinstance(item, Item), f"item {index}: a {type(item).__name__}")
        said = not isinstance(item.content, Stretch) or subject.cls.gives_stretches
        expect(said, f"item {index} holds a Stretch, and `gives_stretches` is False")
        known = isinstance(whole(item.content), Path | bytes | np.ndarray)
        expect(known, f"item {index} holds a {type(whole(item.content)).__name__}")
        expect(type(item.name) is str and bool(item.name), f"item {index} is named {item.name!r}")
        labelled = item.label is None or type(item.label) is int
        expect(labelled, f"item {index} has the label {item.label!r}")


@promise(f"{_SOURCE}.labels, {_SOURCE}.classes")
def labels(subject: Subject) -> None:
    """Labels [n] int64 in [0, len(classes)) as items have them; or None, and no classes."""
    source = _made(subject)
    found, classes = source.labels(), source.classes
    given = {index: source.item(index).label for index in _indices(source)}
    if found is None:
        expect(not classes, f"no labels, but the classes {classes[:4]}")
        expect(set(given.values()) == {None}, "no labels, but items have some")
        return
    shape, dtype = found.shape, found.dtype
    expect(shape == (len(source),) and dtype == np.int64, f"{dtype} {list(shape)}")
    low, high = int(found.min()), int(found.max())
    expect(0 <= low <= high < len(classes), f"labels {low} to {high} for {len(classes)} classes")
    for index, label in given.items():
        expect(label == found[index], f"item {index} has label {label}, labels() {found[index]}")


@promise(f"{_SOURCE}.item")
def repeats(subject: Subject) -> None:
    """The sample at an index is the same each time, in whatever order they are asked for."""
    source = _made(subject)
    indices = _indices(source)
    first = {index: source.item(index) for index in indices}
    for index in reversed(indices):
        expect(_same(source.item(index), first[index]), f"item {index} was another before")


@promise(f"{_SOURCE}.fingerprint")
def fingerprint(subject: Subject) -> None:
    """A short digest, the same after reading and in a new object, as of a resumed run."""
    source = _made(subject)
    before = source.fingerprint()
    short = type(before) is str and 0 < len(before) <= 200
    expect(short, f"{before!r:.60}")
    for index in _indices(source):
        source.item(index)
    expect(source.fingerprint() == before, "it changed by reading")
    expect(_made(subject).fingerprint() == before, "a new object has another")


@promise(_SOURCE)
def pickles(subject: Subject) -> None:
    """A source travels to worker processes: it pickles below 1 MiB, and gives the same there."""
    source = _made(subject)
    written = pickle.dumps(source)
    expect(len(written) <= _SMALL, f"it pickles to {len(written):,} bytes")
    copied: Source = pickle.loads(written)
    expect(len(copied) == len(source), f"{len(copied)} samples for {len(source)}")
    expect(copied.fingerprint() == source.fingerprint(), "the copy has another fingerprint")
    for index in _indices(source):
        expect(_same(copied.item(index), source.item(index)), f"item {index} of the copy differs")


@promise(_SOURCE)
def missing_places(subject: Subject) -> None:
    """A source that reads `data.root` refuses by DataError where there is none."""
    inner = [part.cls for part in parts(subject.config) if part.kind == "source"]
    if not all(cls.takes_root for cls in (subject.cls, *inner)):
        return
    place = _place(subject)
    for root in (None, Path("/no/such/folder")):
        try:
            subject.cls(subject.config, place=attrs.evolve(place, root=root))
        except DataError:
            continue
        expect(False, f"root {root} was taken")


@promise(f"{_SOURCE}.wholes, {_SOURCE}.groups")
def together(subject: Subject) -> None:
    """Wholes and groups are None or [n] int64; parts of a whole have one label and one group."""
    source = _made(subject)
    for name, found in (("wholes", source.wholes()), ("groups", source.groups())):
        if found is not None:
            right = found.shape == (len(source),) and found.dtype == np.int64
            expect(right, f"{name}: {found.dtype} {list(found.shape)}")
    _, first, whole = np.unique(wholes_of(source), return_index=True, return_inverse=True)
    for what, values in (("labels", source.labels()), ("groups", source.groups())):
        for other in () if values is None else np.flatnonzero(values != values[first[whole]]):
            expect(False, f"items {first[whole[other]]} and {other}: one whole with two {what}")


@promise("jepa.core.Measured.quantity")
def quantities(subject: Subject) -> None:
    """A Measured source gives each of its quantities as [n] float64, and refuses others."""
    source = _made(subject)
    if not isinstance(source, Measured):
        return
    for name in source.quantities:
        found = source.quantity(name)
        right = found.shape == (len(source),) and found.dtype == np.float64
        expect(right, f"{name}: {found.dtype} {list(found.shape)}")
    try:
        source.quantity("no such quantity")
    except DataError:
        return
    expect(False, "'no such quantity' is not refused by DataError")


@promise(_SOURCE)
def generators(subject: Subject) -> None:
    """No global generator is used."""

    def live() -> None:
        source = _made(subject)
        for index in _indices(source):
            source.item(index)

    untouched(live)


PROMISES: tuple[Promise, ...] = (
    items,
    labels,
    repeats,
    fingerprint,
    pickles,
    missing_places,
    quantities,
    together,
    generators,
)
