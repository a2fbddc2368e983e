from __future__ import annotations

import enum
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jepa.core import Grid, registry
from jepa.core.errors import ConfigError
from jepa.core.settings import (
    EncoderPart,
    FieldError,
    MaskSamplerPart,
    check,
    fraction,
    parts,
    positive,
    positive_range,
    scale_range,
    structure,
    unstructure,
)
from jepa.core.yamlfile import parse_yaml, to_yaml
from jepa.testing import conformance


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Speed(enum.StrEnum):
    SLOW = "slow"
    FAST = "fast"


@attrs.frozen(kw_only=True)
class Inner:
    depth: int = attrs.field(default=1, validator=positive)
    low: float = 0.0
    high: float = 1.0

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ConfigError(f"low {self.low} is above high {self.high}")


@attrs.frozen(kw_only=True)
class Outer:
    needed: int
    number: float = 0.5
    flag: bool = False
    text: str = "x"
    path: Path | None = None
    mode: Literal["fast", "slow"] = "fast"
    size: tuple[int, int] = (1, 2)
    many: tuple[float, ...] = ()
    listed: list[str] = attrs.field(factory=list)
    colour: Colour = Colour.RED
    workers: int | Literal["auto"] = "auto"
    noted: Annotated[int, "a note"] = 1
    inner: Inner = attrs.field(factory=Inner)
    inners: tuple[Inner, ...] = ()
    speed: Speed = Speed.SLOW
    weights: dict[str, float] = attrs.field(factory=dict)
    deep: dict[str, Inner] | None = None
    names: frozenset[str] = frozenset()
    places: set[int] = attrs.field(factory=set)


def faults(raw: Any, cl: Any = Outer) -> dict[str, str]:
    with pytest.raises(ConfigError) as error:
        structure(raw, cl, "file.yaml")
    assert error.value.where == "file.yaml"
    found = {fault.path: fault.message for fault in error.value.faults}
    assert len(found) == len(error.value.faults)
    return found


def test_a_whole_config():
    raw = {
        "needed": 3,
        "number": 2,
        "flag": True,
        "text": "no",
        "path": "/a/b",
        "mode": "slow",
        "size": [3, 4],
        "many": [1, 2.5],
        "listed": ["a"],
        "colour": "blue",
        "workers": 2,
        "noted": 5,
        "inner": {"depth": 7},
        "inners": [{}, {"depth": 2}],
        "speed": "fast",
        "weights": {"a": 1, "b": 2.5},
        "deep": {"one": {"depth": 4}},
        "names": ["x", "y"],
        "places": [3],
    }
    config = structure(raw, Outer)
    assert config == Outer(
        needed=3,
        number=2.0,
        flag=True,
        text="no",
        path=Path("/a/b"),
        mode="slow",
        size=(3, 4),
        many=(1.0, 2.5),
        listed=["a"],
        colour=Colour.BLUE,
        workers=2,
        noted=5,
        inner=Inner(depth=7),
        inners=(Inner(), Inner(depth=2)),
        speed=Speed.FAST,
        weights={"a": 1.0, "b": 2.5},
        deep={"one": Inner(depth=4)},
        names=frozenset({"x", "y"}),
        places={3},
    )
    assert type(config.number) is float
    assert type(config.many[0]) is float
    assert type(config.weights["a"]) is float


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("needed", 3.7, "found 3.7, allowed: an integer"),
        ("needed", 3.0, "found 3.0, allowed: an integer; write 3"),
        ("needed", True, "found true, allowed: an integer"),
        ("needed", None, "found null, allowed: an integer"),
        ("needed", "3", "found '3', allowed: an integer"),
        ("number", True, "found true, allowed: a number"),
        ("number", "1e-4", "found '1e-4', allowed: a number"),
        ("number", float("nan"), "found nan, allowed: a finite number"),
        ("number", float("inf"), "found inf, allowed: a finite number"),
        ("number", 10**400, "allowed: a finite number"),
        ("flag", 1, "found 1, allowed: true or false"),
        ("text", 1, "found 1, allowed: text"),
        ("text", False, "found false, allowed: text"),
        ("path", 3, "found 3, allowed: a path"),
        ("mode", "fsat", "found 'fsat', allowed: 'fast', 'slow'; did you mean 'fast'?"),
        ("mode", None, "found null, allowed: 'fast', 'slow'"),
        ("mode", ["fast"], "found ['fast'], allowed: 'fast', 'slow'"),
        ("size", [1, 2, 3], "found 3 values, allowed: a list of 2"),
        ("size", 3, "found 3, allowed: a list"),
        ("listed", "abc", "found 'abc', allowed: a list"),
        ("many", {"a": 1}, "found {'a': 1}, allowed: a list"),
        ("colour", "green", "found 'green', allowed: 'red', 'blue'"),
        ("workers", "aut", "found 'aut', allowed: an integer or 'auto'; did you mean 'auto'?"),
        ("workers", 1.5, "found 1.5, allowed: an integer or 'auto'"),
        ("inner", 3, "found 3, allowed: a mapping"),
        ("inner", None, "found null, allowed: a mapping"),
        ("text", ["x" * 99], "..., allowed: text"),
        ("speed", "fsat", "found 'fsat', allowed: 'slow', 'fast'"),
        ("weights", 3, "found 3, allowed: a mapping"),
        ("deep", [1], "found [1], allowed: a mapping"),
        ("names", "xy", "found 'xy', allowed: a list"),
    ],
)
def test_wrong_values(key, value, says):
    found = faults({"needed": 1} | {key: value})
    assert list(found) == [key]
    assert says in found[key]


def test_every_fault_at_once_each_with_its_path():
    raw = {
        "numbr": 1,
        "text": 3,
        "size": ["a", 2.5],
        "inner": {"depth": 0, "low": "x", "hihg": 2},
        "inners": [{"depth": 1}, {"depth": -1}, {"low": 5}, 7],
        "weights": {"a": "x", "b": 1, 3: 1.0},
        "deep": {"one": {"depth": 0}},
        "names": ["x", 2],
        4: 5,
    }
    found = faults(raw)
    assert set(found) == {
        *("numbr", "4", "needed", "text", "size.0", "size.1"),
        *("inner.depth", "inner.low", "inner.hihg", "inners.1.depth", "inners.2", "inners.3"),
        *("weights.a", "weights.3", "deep.one.depth", "names.1"),
    }
    assert "unknown key, allowed: needed, number," in found["numbr"]
    assert "did you mean 'number'?" in found["numbr"]
    assert "did you mean 'high'?" in found["inner.hihg"]
    assert found["needed"].startswith("missing")
    assert found["inner.depth"] == "found 0, allowed: above 0"
    assert found["inners.2"] == "low 5.0 is above high 1.0"


def test_faults_below_a_wrong_root():
    assert faults([1]) == {"": "found [1], allowed: a mapping"}


def test_the_text_of_an_error_counts_and_lists():
    with pytest.raises(ConfigError) as error:
        structure({"text": 1}, Outer, "file.yaml")
    lines = str(error.value).splitlines()
    assert lines[0] == "file.yaml: 2 faults"
    assert lines[1].startswith("  needed: missing")
    with pytest.raises(ConfigError, match=r"^file\.yaml: text: found 1, allowed: text$"):
        structure({"text": 1, "needed": 1}, Outer, "file.yaml")


def not_above(instance: Any, attribute: Any, value: Any) -> None:
    if value > instance.limit:
        raise ValueError(f"{value} is above the limit {instance.limit}")


@attrs.frozen(kw_only=True)
class Validated:
    limit: int = 10
    below: int = attrs.field(default=0, validator=not_above)
    typed: int = attrs.field(default=0, validator=attrs.validators.ge(0))
    either: str = attrs.field(default="a", validator=attrs.validators.in_(("a", "b")))
    rounded: int = attrs.field(default=1, converter=abs, validator=positive)
    optional: float | None = attrs.field(default=None, validator=fraction)
    odd: complex = 0j
    counts: dict[int, float] = attrs.field(factory=dict)
    listed: list = attrs.field(factory=list)


def test_validators_of_any_making():
    found = faults({"typed": -1, "either": "c", "optional": 2}, Validated)
    assert set(found) == {"typed", "either", "optional"}
    assert found["either"].startswith("'either' must be in ('a', 'b')")
    # A validator that looks at its neighbours speaks when all of them are right by themselves.
    assert faults({"limit": 3, "below": 5}, Validated) == {"": "5 is above the limit 3"}
    # And one behind a converter sees the converted value.
    assert structure({"rounded": -4}, Validated).rounded == 4
    assert faults({"rounded": 0}, Validated) == {"rounded": "found 0, allowed: above 0"}


def test_types_that_settings_do_not_know():
    found = faults({"odd": 1, "counts": {1: 2.0}, "listed": [1]}, Validated)
    assert found["odd"] == "settings of type <class 'complex'> are not supported"
    assert found["counts"] == "settings of type dict[int, float] are not supported"
    assert found["listed"] == "settings of type <class 'list'> are not supported"
    untyped = attrs.make_class("Untyped", {"x": attrs.field(default=1)})
    assert faults({"x": 2}, untyped) == {"x": "settings without a type are not supported"}


@pytest.mark.parametrize(
    ("validator", "good", "bad"),
    [
        (positive, [1e-9, 3, None], [0, -1]),
        (fraction, [0, 1, 0.5], [-0.1, 1.1]),
        (positive_range, [(1, 1), (0.5, 2)], [(2, 1), (0, 1), (1,)]),
        (scale_range, [(0.1, 1.0)], [(0.1, 1.1), (0.0, 0.5), (0.5, 0.4)]),
        (check("even", lambda v: v % 2 == 0), [2, None], [3]),
    ],
)
def test_field_validators(validator, good, bad):
    made = attrs.make_class("Made", {"x": attrs.field(validator=validator)})
    for value in good:
        made(value)
    for value in bad:
        with pytest.raises(FieldError, match=r"x: found .* allowed"):
            made(value)


# --- parts ------------------------------------------------------------

SAMPLER = """
from __future__ import annotations
import attrs
from jepa.core import ConfigError, MaskSampler, positive

@attrs.frozen(kw_only=True)
class Deep:
    count: int = attrs.field(default=1, validator=positive)

class Sampler(MaskSampler):
    @attrs.frozen(kw_only=True)
    class Config:
        size: int = attrs.field(default=2, validator=positive)
        low: float = 0.0
        high: float = 1.0
        deep: tuple[Deep, ...] = ()

        def __attrs_post_init__(self):
            if self.low > self.high:
                raise ConfigError("low is above high")

    def sample(self, batch_size, rng):
        raise NotImplementedError
"""


@pytest.fixture
def wave(packages):
    packages.add("waves", {"jepa.mask_samplers": {"wave": "waves:Sampler"}}, {"waves": SAMPLER})
    packages.add("broken", {"jepa.mask_samplers": {"broken": "broken:X"}}, {"broken": "1/0"})
    return registry.find("mask_sampler", "wave")


@attrs.frozen(kw_only=True)
class WithParts:
    one: MaskSamplerPart
    maybe: MaskSamplerPart | None = None
    many: tuple[MaskSamplerPart, ...] = ()
    encoder: EncoderPart | None = None
    named: dict[str, MaskSamplerPart] = attrs.field(factory=dict)


def test_a_part_is_named_by_text_or_mapping(wave):
    raw = {"one": "wave", "maybe": {"name": "waves:wave", "size": 5}, "many": ["wave", "wave"]}
    raw["named"] = {"first": "random"}
    config = structure(raw, WithParts)
    assert config.one.config.size == 2
    assert (config.maybe.config.size, config.maybe.name) == (5, "waves:wave")
    assert config.one.plugin == config.maybe.plugin == wave
    assert config.one.cls is registry.load(wave)
    assert config.encoder is None
    named = ["wave", "waves:wave", "wave", "wave", "random"]
    assert [part.name for part in parts(config)] == named


def test_faults_of_parts_stand_among_the_others_with_full_paths(wave):
    raw = {
        "one": {"name": "wave", "siez": 3, "low": "x", "size": -1},
        "maybe": {"name": "waev"},
        "many": [
            {"name": "wave", "deep": [{"count": 0}, {"cuont": 1}]},
            {"size": 3},
            {"name": 7},
            3,
            {"name": "wave", "low": 2},
            "broken",
        ],
        "encoder": "wave",
    }
    found = faults(raw, WithParts)
    assert set(found) == {
        *("one.siez", "one.low", "one.size", "maybe", "encoder"),
        *("many.0.deep.0.count", "many.0.deep.1.cuont"),
        *("many.1.name", "many.2.name", "many.3", "many.4", "many.5"),
    }
    assert "did you mean 'size'?" in found["one.siez"]
    assert "no such mask sampler: found 'waev'" in found["maybe"]
    assert "did you mean 'wave'?" in found["maybe"]
    assert found["many.1.name"].startswith("missing, allowed: the name of a part: ")
    assert "multiblock" in found["many.1.name"]
    assert found["many.2.name"].startswith("found 7")
    assert found["many.3"] == "found 3, allowed: a name, or a mapping with `name`"
    assert found["many.4"] == "low is above high"
    assert "ZeroDivisionError" in found["many.5"]
    assert "no such encoder: found 'wave', allowed: " in found["encoder"]


def test_parts_come_back_from_plain_data(wave):
    raw = {"one": "wave", "many": [{"name": "waves:wave", "deep": [{"count": 4}]}]}
    config = structure(raw, WithParts)
    plain = unstructure(config)
    assert plain == {
        "one": {"name": "wave", "size": 2, "low": 0.0, "high": 1.0, "deep": []},
        "maybe": None,
        "many": [
            {"name": "waves:wave", "size": 2, "low": 0.0, "high": 1.0, "deep": [{"count": 4}]}
        ],
        "encoder": None,
        "named": {},
    }
    assert structure(plain, WithParts) == config
    assert structure(parse_yaml(to_yaml(plain), "x"), WithParts) == config


WRAPPER = """
import attrs
from jepa.core import FieldError, Grid, Masks, MaskSampler, MaskSamplerPart, Rng

class Wrapper(MaskSampler):
    @attrs.frozen(kw_only=True)
    class Config:
        inner: MaskSamplerPart
        low: int = 0
        high: int = 1

        def __attrs_post_init__(self):
            if self.low > self.high:
                raise FieldError("low", f"found {self.low}, allowed: up to {self.high}")

    def __init__(self, config: Config, *, grid: Grid) -> None:
        self._inner = config.inner.cls(config.inner.config, grid=grid)

    def sample(self, batch_size: int, rng: Rng) -> Masks:
        return self._inner.sample(batch_size, rng)
"""


def test_a_stranger_wraps_another_part_by_the_public_face_alone(packages):
    entry = {"jepa.mask_samplers": {"wrapper": "wrappers:Wrapper"}}
    packages.add("wrappers", entry, {"wrappers": WRAPPER})
    settings = {"inner": {"name": "random", "ratio": 0.5}}
    conformance("mask_sampler", "wrapper", settings=settings, grids=[Grid((6,), ("t",))]).run()
    found = faults({"one": {"name": "wrapper", "low": 3, **settings}}, WithParts)
    assert found == {"one.low": "found 3, allowed: up to 1"}
    assert "one.inner" in faults({"one": {"name": "wrapper", "inner": "ramdon"}}, WithParts)


# --- round trip ------------------------------------------------------------


def test_numbers_of_numpy_are_plain_ones():
    config = Outer(
        needed=np.int64(3),
        number=np.float32(0.5),
        flag=np.bool_(True),
        many=tuple(np.arange(2.0)),
        weights={"a": np.float16(2)},
        size=np.array([3, 4]),
    )
    plain = unstructure(config)
    assert parse_yaml(to_yaml(plain), "x") == json.loads(json.dumps(plain)) == plain
    read = structure(plain, Outer)
    assert (read.needed, read.number, read.flag) == (3, 0.5, True)
    assert (read.many, read.weights, read.size) == ((0.0, 1.0), {"a": 2.0}, (3, 4))


def test_a_set_is_written_in_one_order():
    assert unstructure(Outer(needed=1, names=frozenset("cab")))["names"] == ["a", "b", "c"]


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"))
awkward = st.sampled_from(
    [
        *("no", "yes", "on", "null", "~", "", "true", ".inf", "1e-4", "1_000", "0o7", "1:30"),
        *("2024-01-01", "- a", "a: b", "#x", "'", '"', "{a}", "[b]", "&x", "*x", "!x", "%x", "@x"),
        *(" a ", "---", "...", "?", ":", "-", "a\nb", "a\n", "\n", "\\n", "x" * 300, "x y " * 99),
    ]
)
finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    text=texts | awkward,
    listed=st.lists(texts | awkward, max_size=3),
    number=finite,
    many=st.lists(finite, max_size=3),
    needed=st.integers(),
    path=st.none() | st.sampled_from(["/a b/c", "no", "1e-4", "null", "-"]),
    workers=st.integers(0, 9) | st.just("auto"),
    depths=st.lists(st.integers(1, 99), max_size=2),
    weights=st.dictionaries(texts | awkward, finite, max_size=2),
    names=st.frozensets(texts | awkward, max_size=3),
)
def test_any_settings_come_back_from_their_yaml(
    text, listed, number, many, needed, path, workers, depths, weights, names
):
    config = Outer(
        needed=needed,
        number=number,
        text=text,
        path=None if path is None else Path(path),
        many=tuple(many),
        listed=listed,
        workers=workers,
        colour=Colour.BLUE,
        inners=tuple(Inner(depth=depth) for depth in depths),
        weights=weights,
        names=names,
    )
    plain = unstructure(config)
    assert parse_yaml(to_yaml(plain), "x") == plain
    assert structure(parse_yaml(to_yaml(plain), "x"), Outer) == config
