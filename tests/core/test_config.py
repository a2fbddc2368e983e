from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jepa.core import config as config_module
from jepa.core.config import (
    RunConfig,
    apply_override,
    apply_overrides,
    config_path,
    differences,
    flatten,
    layer,
    load_run,
    merge,
    parse_yaml,
    to_yaml,
)
from jepa.core.errors import ConfigError
from jepa.core.settings import structure, unstructure

# A modality, a source and an encoder that do nothing: only their settings matter here.
TOY = """
from __future__ import annotations
import attrs
from jepa.core import Encoder, Modality, Source, positive, positive_all

def _unused(*args): raise NotImplementedError

@attrs.frozen(kw_only=True)
class Settings:
    size: tuple[int, ...] = attrs.field(default=(8, 8), validator=positive_all)
    depth: int = attrs.field(default=2, validator=positive)
    text: str = "x"

class ToyModality(Modality):
    Config = Settings

    @classmethod
    def defaults(cls):
        return {
            "data": {"source": "toy_source", "workers": 0},
            "model": {
                "tokenizer": {"name": "patch", "size": [4, 4]},
                "encoder": {"name": "toy", "depth": 3},
                "predictor": {"name": "vit"},
                "target": "ema",
                "objective": "l1",
            },
            "masks": [{"name": "multiblock"}],
            "train": {"global_batch": 4, "max_steps": 2},
        }

    spec = property(_unused)
    train_input = eval_input = device_transform = preview = baseline = _unused

class ToyEncoder(Encoder):
    Config = Settings
    forward = layers = regrid = _unused

class ToySource(Source):
    Config = Settings
    __len__ = item = classes = labels = fingerprint = _unused
"""


@pytest.fixture(autouse=True)
def toy(packages, monkeypatch):
    monkeypatch.delenv("JEPA_DATA", raising=False)
    entries = {
        "jepa.modalities": {"toy": "toys:ToyModality"},
        "jepa.encoders": {"toy": "toys:ToyEncoder", "toy2": "toys:ToyEncoder"},
        "jepa.sources": {"toy_source": "toys:ToySource"},
    }
    packages.add("toys", entries, {"toys": TOY})


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return str(path)


# --- YAML -----------------------------------------------------------------------------------


def test_yaml_is_of_version_1_2():
    text = "a: 1e-4\nb: no\nc: 1_000\nd: true\ne: null\nf: ~\ng: 0o10\nh: 012\ni: 1:30\nj: 1.0e+3"
    assert parse_yaml(text, "x") == {
        **{"a": 1e-4, "b": "no", "c": 1000, "d": True, "e": None, "f": None},
        **{"g": 8, "h": 12, "i": "1:30", "j": 1000.0},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3, column 1: found duplicate key"),
        ("m:\n  a: 1\n  a: 1\n", "line 3, column 3: found duplicate key"),
        ("a: [1, 2\nb: 3", "line 2"),
        ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
        ("a: !!python/object:os.system x", "line 1, column 4: could not determine a constructor"),
        ("a: *nowhere", "found undefined alias 'nowhere'"),
        ("a: 1\n---\nb: 2", "line 2, column 1"),
        ("a: \x07", "special characters are not allowed"),
        ("a: 2024-13-45", "month must be in 1..12"),
    ],
)
def test_wrong_yaml_says_where(text, says):
    with pytest.raises(ConfigError, match=r"^f\.yaml: ") as error:
        parse_yaml(text, "f.yaml")
    assert says in str(error.value)


def test_yaml_that_is_written_is_plain():
    settings = {"b": (1, 2), "a": Path("/x"), "t": ({"k": Path("y")},), "n": None, "e": ()}
    text = to_yaml(settings)
    assert "!" not in text
    assert "&" not in text
    read = parse_yaml(text, "x")
    assert read == {"b": [1, 2], "a": "/x", "t": [{"k": "y"}], "n": None, "e": []}
    assert list(read) == ["b", "a", "t", "n", "e"]
    shared = [1]
    assert "&" not in to_yaml({"a": shared, "b": shared})


# --- layers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("under", "over", "merged"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": 1}, {"a": None}, {"a": None}),
        ({"p": {"name": "x", "d": 1}}, {"p": {"d": 2}}, {"p": {"name": "x", "d": 2}}),
        ({"p": {"name": "x", "d": 1}}, {"p": {"name": "y"}}, {"p": {"name": "y"}}),
        ({"p": {"name": "x", "d": 1}}, {"p": "y"}, {"p": {"name": "y"}}),
        ({"p": {"name": "x", "d": 1}}, {"p": "x"}, {"p": {"name": "x", "d": 1}}),
        ({"p": "x"}, {"p": {"d": 2}}, {"p": {"name": "x", "d": 2}}),
        ({"p": "x"}, {"p": {"name": "y", "d": 2}}, {"p": {"name": "y", "d": 2}}),
    ],
)
def test_layers(under, over, merged):
    kept = json.dumps(under)
    assert merge(under, over) == merged
    assert json.dumps(under) == kept


@pytest.mark.parametrize(
    ("raw", "override", "set_to"),
    [
        ({}, "model.encoder.depth=6", {"model": {"encoder": {"depth": 6}}}),
        ({}, "optim.lr=1e-3", {"optim": {"lr": 1e-3}}),
        ({}, "a.b=no", {"a": {"b": "no"}}),
        ({}, "a.b='1e-3'", {"a": {"b": "1e-3"}}),
        ({}, 'a="x: y # z"', {"a": "x: y # z"}),
        ({}, "a=x=y", {"a": "x=y"}),
        ({}, "a=", {"a": None}),
        ({}, "a=/data/my pictures", {"a": "/data/my pictures"}),
        ({"masks": [{"name": "m"}]}, "masks=[{name: random}]", {"masks": [{"name": "random"}]}),
        (
            {"masks": [{"name": "m", "n": 1}, "k"]},
            "masks.0.trim=side",
            {"masks": [{"name": "m", "n": 1, "trim": "side"}, "k"]},
        ),
        ({"masks": ["m", "k"]}, "masks.1.n=2", {"masks": ["m", {"name": "k", "n": 2}]}),
        ({"masks": ["m", "k"]}, "masks.1=z", {"masks": ["m", "z"]}),
        (
            {"modality": "image"},
            "modality.size=[96,96]",
            {"modality": {"name": "image", "size": [96, 96]}},
        ),
        ({"e": {"name": "a", "d": 1}}, "e={d: 2}", {"e": {"name": "a", "d": 2}}),
        ({"e": {"name": "a", "d": 1}}, "e=b", {"e": {"name": "b"}}),
        ({"e": {"name": "a", "d": 1}}, "e.name=b", {"e": {"name": "b"}}),
        ({"e": {"name": "a", "d": 1}}, "e.name=a", {"e": {"name": "a", "d": 1}}),
        ({"e": None}, "e.d=1", {"e": {"d": 1}}),
    ],
)
def test_overrides(raw, override, set_to):
    kept = json.dumps(raw)
    assert apply_override(raw, override) == set_to
    assert json.dumps(raw) == kept


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("lr", "'lr': allowed: key=value, such as optim.lr=1e-3"),
        ("=3", "allowed: key=value"),
        ("a..b=3", "allowed: key=value"),
        ("a-b=3", "allowed: key=value"),
        ("masks.2.n=1", "found place '2' of a list, allowed: 0 to 1"),
        ("masks.x=1", "found place 'x' of a list"),
        ("empty.0=1", "allowed: none, the list is empty"),
        ("seed.x=1", "'x' lies below 3, which has no keys"),
        ("a=[1, 2", "the value is not YAML (line 1"),
        ("a=@x", "put text with special characters in quotes"),
    ],
)
def test_overrides_that_cannot_be_applied(override, says):
    raw = {"masks": ["m", "k"], "empty": [], "seed": 3}
    with pytest.raises(ConfigError, match=r"^overrides: '") as error:
        apply_override(raw, override)
    assert says in str(error.value)
    assert f"'{override}'" in str(error.value)


def test_overrides_are_set_in_turn_and_fail_together():
    assert apply_overrides({"a": 1}, ["a=2", "b.c=3", "a=4"]) == {"a": 4, "b": {"c": 3}}
    with pytest.raises(ConfigError, match="2 faults"):
        apply_overrides({}, ["a", "b=1", "c=["])


def test_defaults_stand_under_the_file_and_overrides_on_top(tmp_path):
    file = write(tmp_path, "modality: toy\nmodel:\n  encoder: {depth: 5}\ndata: {workers: 1}\n")
    run = load_run(file, ["masks.0.num_targets=2", "modality.size=[96, 96]", "data.workers=2"])
    assert run.model.encoder.config.depth == 5
    assert run.model.tokenizer.config.size == (4, 4)
    assert run.masks[0].config.num_targets == 2
    assert run.modality.config.size == (96, 96)
    assert run.data.workers == 2


def test_a_part_that_the_file_names_drops_the_default_settings(tmp_path):
    run = load_run(write(tmp_path, "modality: toy\nmodel: {encoder: toy2}"))
    assert (run.model.encoder.name, run.model.encoder.config.depth) == ("toy2", 2)


@pytest.mark.parametrize(
    ("text", "overrides", "asked"),
    [
        ("modality: toy", [], None),
        ("modality: toy", [], "toy"),
        ("{}", [], "toy"),
        ("", [], "toy"),
        ("modality:", [], "toy"),
        ("modality: {name: toy}", [], "toy"),
        ("modality: {depth: 4}", [], "toy"),
        ("{}", ["modality=toy"], None),
        ("{}", ["modality.name=toy"], None),
        ("{}", ["modality.depth=4"], "toy"),
        ("modality: image", ["modality=toy"], "toy"),
    ],
)
def test_the_modality_stands_in_the_file_or_on_the_command_line(tmp_path, text, overrides, asked):
    run = load_run(write(tmp_path, text), overrides, asked)
    assert run.modality.name == "toy"
    assert run.modality.config.depth == (4 if "depth" in text + str(overrides) else 2)


def test_no_file_at_all():
    assert load_run(None, [], "toy").modality.name == "toy"


@pytest.mark.parametrize(
    ("text", "asked", "says"),
    [
        ("modality: toy", "image", "modality: found 'toy', but --modality says 'image'"),
        ("{}", None, "modality: missing; name it here or by --modality: audio, image, toy"),
        ("modality: {depth: 3}", None, "modality: missing"),
        ("modality: 3", "toy", "modality: found 3, allowed: a name"),
        ("modality: toyy", None, "modality: no such modality: found 'toyy'"),
        ("[1]", "toy", "found [1], allowed: a mapping"),
    ],
)
def test_the_modality_is_missing_or_in_doubt(tmp_path, text, asked, says):
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as error:
        load_run(file, [], asked)
    assert str(error.value).startswith(f"{file}: {says}")


def test_faults_of_a_run(tmp_path):
    text = """\
modality: {name: toy, depht: 3}
model:
  encoder: {name: toy, depth: 0, text: 3}
  predictor: vitt
masks: []
train: {epochs: null, max_steps: null}
optim: {lr: "1e-3"}
"""
    with pytest.raises(ConfigError) as error:
        load_run(write(tmp_path, text), ["data.prefetch=x"])
    assert {fault.path for fault in error.value.faults} == {
        *("modality.depht", "model.encoder.depth", "model.encoder.text", "model.predictor"),
        *("masks", "train", "optim.lr", "data.prefetch"),
    }
    by_path = {fault.path: fault.message for fault in error.value.faults}
    assert "set one of them" in by_path["train"]
    assert by_path["masks"] == "found [], allowed: at least one mask sampler"


def test_a_fault_of_an_override_does_not_blame_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"^overrides: 'nonsense'"):
        load_run(write(tmp_path, "modality: toy"), ["nonsense"])


def test_a_run_comes_back_from_its_plain_settings(tmp_path):
    overrides = ["data.root=null", "modality.text='1e-4'", "model.encoder.text=no"]
    run = load_run(write(tmp_path, "modality: toy"), [*overrides, "data.split='null'"])
    assert run.model.encoder.config.text == "no"
    plain = unstructure(run)
    assert structure(parse_yaml(to_yaml(plain), "x"), RunConfig) == run
    assert load_run(write(tmp_path, to_yaml(plain))) == run
    assert not differences(plain, parse_yaml(to_yaml(plain), "x"))
    json.dumps(plain)


# --- JEPA_DATA ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "overrides", "root"),
    [
        ("modality: toy", [], "/env"),
        ("{modality: toy, data: {root: null}}", [], "/env"),
        ("{modality: toy, data: {root: /file}}", [], "/file"),
        ("modality: toy", ["data.root=/line"], "/line"),
    ],
)
def test_the_data_path_from_the_environment(tmp_path, monkeypatch, text, overrides, root):
    monkeypatch.setenv("JEPA_DATA", "/env")
    assert load_run(write(tmp_path, text), overrides).data.root == Path(root)
    monkeypatch.setenv("JEPA_DATA", "")
    without = load_run(write(tmp_path, text), overrides).data.root
    assert without == (None if root == "/env" else Path(root))


def test_the_environment_hides_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("JEPA_DATA", "/env")
    with pytest.raises(ConfigError, match="data: found 3, allowed: a mapping"):
        load_run(write(tmp_path, "{modality: toy, data: 3}"))


def test_a_source_that_brings_its_samples_refuses_a_root(monkeypatch):
    with pytest.raises(ConfigError, match=r"data.root: found '/mine', but the source 'fashion_m"):
        load_run("image/quickstart", ["data.root=/mine"])
    monkeypatch.setenv("JEPA_DATA", "/env")  # meant for other runs
    assert load_run("image/quickstart").data.root is None
    assert load_run("image/quickstart", ["data.source=folder"]).data.root == Path("/env")


def test_an_observer_stands_once():
    with pytest.raises(ConfigError, match=r"observers: .* allowed: each observer once"):
        load_run("image/quickstart", ["observers=[jsonl, progress, {name: jsonl}]"])


def test_a_fault_says_that_it_may_stand_on_the_command_line():
    with pytest.raises(ConfigError, match=r"quickstart.yaml and key=value: optim.lr: found 'fast'"):
        load_run("image/quickstart", ["optim.lr=fast"])
    with pytest.raises(ConfigError, match=r"and key=value: train.log_every: found 0"):
        load_run("image/quickstart", ["train.log_every=0"])


# --- files and differences -----------------------------------------------------------------


def test_a_config_is_a_path_or_a_shipped_name(tmp_path, monkeypatch):
    package = tmp_path / "jepa"
    (package / "configs" / "image").mkdir(parents=True)
    shipped = package / "configs" / "image" / "small.yaml"
    shipped.write_text("modality: toy")
    monkeypatch.setattr("jepa.core.yamlfile.__file__", str(package / "core" / "yamlfile.py"))
    monkeypatch.chdir(tmp_path)
    for name in ("image/small", "image/small.yaml", "configs/image/small.yaml"):
        assert config_path(name) == shipped
    mine = write(tmp_path, "modality: toy")
    assert config_path(mine) == Path(mine)
    with pytest.raises(ConfigError, match=r"image/smal: no such file.*did you mean 'image/small'"):
        config_path("image/smal")
    with pytest.raises(ConfigError, match="this is a folder"):
        config_path(str(tmp_path))


def test_a_file_that_is_no_text(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"x\.yaml: cannot be read"):
        load_run(str(path))


def test_differences_name_each_key():
    old: dict[str, Any] = {"a": {"b": 1, "c": "x"}, "m": [{"n": 1}], "same": [1]}
    new: dict[str, Any] = {"a": {"b": 2}, "m": [{"n": 1}, {"n": 2}], "same": [1], "e": {}}
    assert differences(old, new) == [
        "a.b: 1 -> 2",
        "a.c: 'x' -> absent",
        "e: absent -> {}",
        "m.1.n: absent -> 2",
    ]
    assert flatten({"a": {"b": []}, "c": [1, {"d": 2}]}) == {"a.b": [], "c.0": 1, "c.1.d": 2}


def test_layering_leaves_what_it_was_given(monkeypatch):
    monkeypatch.setenv("JEPA_DATA", "/env")
    raw = {"modality": "toy", "model": {"encoder": {"depth": 4}}}
    kept = json.dumps(raw)
    layer(raw, ["model.encoder.depth=9", "masks.0.num_targets=1"])
    assert json.dumps(raw) == kept
    assert layer(raw)["masks"] == [{"name": "multiblock"}]


def test_the_face_of_the_module_is_whole():
    assert all(hasattr(config_module, name) for name in config_module.__all__)
