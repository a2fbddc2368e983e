"""Parts of samples: their shares, the two sources that give them, and who may take them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from jepa import cli
from jepa.core import ConfigError, DataError, DecodeError, Stretch, entire, part_of, whole
from jepa.core.config import RunConfig, load_run
from jepa.core.data import open_source
from jepa.core.data.held_out import held_out
from jepa.core.registry import find, load
from jepa.core.settings import FieldError

AUDIO = load(find("modality", "audio"))
IMAGE = load(find("modality", "image"))
VIDEO = load(find("modality", "video"))
IN_CLASSES = "{name: class_folders}"


@pytest.fixture
def root(tmp_path):
    for split in ("train", "test"):
        for place in range(4):
            folder = tmp_path / split / "ab"[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{place}.wav").write_bytes(b"")
    return tmp_path


def config(source: str, *more: str, root=None) -> RunConfig:
    at = [] if root is None else [f"data.root={root}"]
    return load_run("audio/quickstart", [f"data.source={source}", "data.split=train", *at, *more])


# --- shares -----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3, 10, 97, 1000])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_equal_parts_share_nothing_and_leave_nothing_out(length, count):
    spans = [Stretch(b"", k / count, (k + 1) / count).span(length) for k in range(count)]
    assert all(len(span) >= 1 for span in spans)
    assert all(min(span) >= 0 and max(span) < length for span in spans)
    if length >= 2 * count:
        assert [place for span in spans for place in span] == list(range(length))


def test_a_part_read_backwards_holds_the_same_in_the_other_order():
    for length in (1, 2, 9, 100):
        forwards = Stretch(b"", 0.25, 0.8).span(length)
        assert list(Stretch(b"", 0.8, 0.25).span(length)) == list(forwards)[::-1]
    assert list(Stretch(b"", 1.0, 0.0).span(3)) == [2, 1, 0]
    assert Stretch(b"", 1.0, 0.0).backwards
    assert not Stretch(b"").backwards


def test_parts_of_parts():
    second = part_of(b"x", 0.5, 1.0)
    assert part_of(second, 0.5, 1.0) == Stretch(b"x", 0.75, 1.0)
    assert part_of(second, 1.0, 0.0) == Stretch(b"x", 1.0, 0.5)
    # The first half of what runs backwards is the end.
    assert part_of(part_of(b"x", 1.0, 0.0), 0.0, 0.25) == Stretch(b"x", 1.0, 0.75)
    thirds = [part_of(part_of(b"x", k / 3, (k + 1) / 3), 0.0, 1.0) for k in range(3)]
    assert [part.begin for part in thirds[1:]] == pytest.approx([1 / 3, 2 / 3])
    assert whole(second) == whole(b"x") == b"x"


@pytest.mark.parametrize(("begin", "end"), [(-0.1, 1.0), (0.0, 1.1), (float("nan"), 1.0)])
def test_shares_lie_between_0_and_1(begin, end):
    with pytest.raises(FieldError, match="0 to 1"):
        Stretch(b"", begin, end)


def test_a_stretch_holds_something():
    with pytest.raises(ValueError, match=r"from 0\.5 to 0\.5 holds nothing"):
        Stretch(b"", 0.5, 0.5)


# --- the sources ------------------------------------------------------------------------------


def test_parts_in_order_with_their_labels_and_names(root):
    found = config(f"{{name: stretches, count: 3, source: {IN_CLASSES}}}", root=root)
    source = open_source(found.data, AUDIO)
    plain = open_source(config(IN_CLASSES, root=root).data, AUDIO)
    assert len(source) == 12
    assert source.classes == plain.classes == ("a", "b")
    assert source.labels().tolist() == np.repeat(plain.labels(), 3).tolist()
    for place in range(4):
        for number in range(3):
            item, inner = source.item(3 * place + number), plain.item(place)
            assert item.name == f"{inner.name} [{number + 1}/3]"
            assert item.label == inner.label
            assert item.content == Stretch(inner.content, number / 3, (number + 1) / 3)


def test_both_directions_of_each_sample(root):
    found = config(f"{{name: arrow_of_time, source: {IN_CLASSES}}}", root=root)
    source = open_source(found.data, AUDIO)
    plain = open_source(config(IN_CLASSES, root=root).data, AUDIO)
    assert source.classes == ("forwards", "backwards")
    assert source.labels().tolist() == [0, 1] * 4
    for place in range(4):
        ahead, back = source.item(2 * place), source.item(2 * place + 1)
        inner = plain.item(place)
        assert (ahead.content, ahead.name) == (inner.content, f"{inner.name} forwards")
        assert back.content == Stretch(inner.content, 1.0, 0.0)
        assert (back.name, back.label) == (f"{inner.name} backwards", 1)


def test_directions_of_parts(root):
    text = f"{{name: arrow_of_time, source: {{name: stretches, count: 2, source: {IN_CLASSES}}}}}"
    source = open_source(config(text, root=root).data, AUDIO)
    assert len(source) == 16
    assert (source.item(3).content.begin, source.item(3).content.end) == (1.0, 0.5)
    assert source.item(3).name.endswith(" [2/2] backwards")


def test_fingerprints_tell_sources_apart(root):
    texts = [
        IN_CLASSES,
        f"{{name: stretches, count: 2, source: {IN_CLASSES}}}",
        f"{{name: stretches, count: 3, source: {IN_CLASSES}}}",
        f"{{name: arrow_of_time, source: {IN_CLASSES}}}",
        "{name: arrow_of_time, source: {name: folder}}",
    ]
    found = [open_source(config(text, root=root).data, AUDIO).fingerprint() for text in texts]
    assert len(set(found)) == len(found)


def test_parts_have_the_quantities_of_their_wholes(tmp_path):
    for number in range(3):
        Image.fromarray(np.full((40, 40, 3), 60 * number, np.uint8)).save(
            tmp_path / f"{number}.png"
        )
    motion = "{name: motion, frames: 8, size: [16, 16], speed: [0.01, 0.03], clips: 5}"
    place = [f"data.root={tmp_path}", "data.split=null"]
    split = f"{{name: stretches, count: 3, source: {motion}}}"
    whole_clips, parts, ways = (
        open_source(load_run("video/quickstart", [f"data.source={text}", *place]).data, VIDEO)
        for text in (motion, split, f"{{name: arrow_of_time, source: {split}}}")
    )
    assert parts.quantities == ways.quantities == whole_clips.quantities == ("speed",)
    speeds = whole_clips.quantity("speed")
    assert len(set(speeds)) == 5
    assert parts.quantity("speed").tolist() == np.repeat(speeds, 3).tolist()
    assert ways.quantity("speed").tolist() == np.repeat(speeds, 6).tolist()
    for source in (parts, ways):
        with pytest.raises(DataError, match="allowed: speed"):
            source.quantity("spede")


def test_what_belongs_together(root):
    parts = f"{{name: stretches, count: 3, source: {IN_CLASSES}}}"
    arrow = "{{name: arrow_of_time, source: {}}}"
    plain, thirds, ways, ways_of_thirds, thirds_of_ways = (
        open_source(config(text, root=root).data, AUDIO)
        for text in (
            IN_CLASSES,
            parts,
            arrow.format(IN_CLASSES),
            arrow.format(parts),
            f"{{name: stretches, count: 3, source: {arrow.format(IN_CLASSES)}}}",
        )
    )
    assert (plain.wholes(), plain.groups()) == (None, None)
    assert thirds.wholes().tolist() == np.repeat(range(4), 3).tolist()
    assert thirds.groups() is None, "the wholes are the groups"
    assert ways.wholes() is None, "two directions are two samples, of one origin"
    assert ways.groups().tolist() == np.repeat(range(4), 2).tolist()
    assert ways_of_thirds.groups().tolist() == np.repeat(range(4), 6).tolist()
    assert ways_of_thirds.wholes().tolist() == [
        2 * whole + way for whole in range(4) for _ in range(3) for way in range(2)
    ]
    assert thirds_of_ways.wholes().tolist() == np.repeat(range(8), 3).tolist()
    assert thirds_of_ways.groups().tolist() == np.repeat(range(4), 6).tolist()


def test_parts_of_what_is_not_measured_have_no_quantity(root):
    found = config(f"{{name: stretches, count: 3, source: {IN_CLASSES}}}", root=root)
    source = open_source(found.data, AUDIO)
    assert source.quantities == ()
    with pytest.raises(DataError, match="asked for the quantity 'speed'"):
        source.quantity("speed")


def test_the_held_out_split_is_in_parts_too(root):
    text = f"{{name: stretches, count: 2, source: {IN_CLASSES}}}"
    found = config(text, root=root)
    held = held_out(found.data, AUDIO, open_source(found.data, AUDIO))
    assert (held.split, len(held.source)) == ("test", 8)


# --- who may take them ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["stretches", "arrow_of_time"])
def test_a_modality_of_whole_samples_refuses_them_when_the_config_is_read(name):
    overrides = [f"data.source={{name: {name}, source: {{name: folder}}}}"]
    with pytest.raises(ConfigError, match=f"data.source: found '{name}'.*whole samples alone"):
        load_run("image/vits16", overrides)


def test_and_where_a_command_names_them(root):
    found = config(f"{{name: stretches, source: {IN_CLASSES}}}", root=root)
    with pytest.raises(ConfigError, match="whole samples alone"):
        open_source(found.data, IMAGE)


def test_a_modality_of_whole_samples_refuses_the_content_itself():
    modality = IMAGE(IMAGE.Config())
    with pytest.raises(DecodeError, match="allowed: whole samples"):
        modality.eval_input(Stretch(b"", 0.0, 0.5))
    with pytest.raises(DecodeError, match="allowed: whole samples"):
        entire(Stretch(b"", 0.0, 0.5))


def test_faults_inside_the_inner_source_say_where():
    with pytest.raises(ConfigError, match=r"data\.source\.source: no such source: found 'foldr'"):
        config("{name: stretches, source: {name: foldr}}")
    with pytest.raises(ConfigError, match=r"data\.source\.source: missing"):
        config("stretches")
    with pytest.raises(ConfigError, match=r"data\.source\.count: .*above 0"):
        config("{name: stretches, count: 0, source: folder}")


def test_a_root_is_refused_where_the_inner_source_brings_its_samples(monkeypatch, tmp_path):
    inner = "{name: stretches, source: {name: fashion_mnist}}"
    with pytest.raises(ConfigError, match="brings its own"):
        config(inner, root=tmp_path)
    monkeypatch.setenv("JEPA_DATA", str(tmp_path))
    assert config(inner).data.root is None
    assert config(f"{{name: stretches, source: {IN_CLASSES}}}").data.root == tmp_path


def test_check_builds_with_them(capsys, root):
    arguments = ["check", "--json", "--config", "audio/quickstart", f"data.root={root}"]
    text = f"data.source={{name: stretches, source: {IN_CLASSES}}}"
    assert cli.main([*arguments, text]) == 0
    assert json.loads(capsys.readouterr().out)["tokens"] > 0
