"""The file of a sweep: what it may say, and every fault of it."""

from __future__ import annotations

import pytest

from jepa.ablation.settings import AblationConfig, load_ablation
from jepa.core.errors import ConfigError
from jepa.core.settings import structure

LEAST = {"base": "image/quickstart", "vary": {"optim.lr": [1e-3]}, "budget": {"steps": 3}}


def read(**more: object) -> AblationConfig:
    return structure({**LEAST, **more}, AblationConfig, "sweep")


def test_defaults():
    config = read()
    assert (config.combine, config.seeds, config.parallel, config.nproc) == ("grid", (0,), 1, None)
    assert [part.name for part in config.measure] == ["knn", "linear"]
    assert (config.evaluate.train_samples, config.evaluate.test_samples) == (10000, 2000)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"vari": 1}, "vari: unknown key, allowed: base, .*; did you mean 'vary'"),
        ({"vary": []}, r"vary: found \[\], allowed: dotted keys, each with a list"),
        ({"vary": {}}, "vary: found {}, allowed: dotted keys"),
        ({"vary": {"optim.lr": 3}}, "vary.optim.lr: found 3, allowed: a list of one or more"),
        ({"vary": {"optim.lr": []}}, r"vary.optim.lr: found \[\], allowed: a list of one or"),
        ({"vary": {3: [1]}}, "vary.3: allowed: text"),
        ({"budget": {}}, "budget: found neither, allowed: samples or steps"),
        ({"budget": {"steps": 1, "samples": 8}}, "budget: found both, allowed: samples or steps"),
        ({"budget": {"steps": 0}}, "budget.steps: found 0, allowed: above 0"),
        ({"budget": {"minutes": 3}}, "budget.minutes: unknown key"),
        ({"seeds": []}, "seeds: found none, allowed: one or more"),
        ({"seeds": [0, 1, 0]}, "seeds: found 0 twice, allowed: each once"),
        ({"seeds": [-1]}, "seeds: found -1, allowed: 0 or more"),
        ({"labels": ["a", "a"]}, "labels: found 'a' twice, allowed: each once"),
        ({"measure": []}, "measure: found none"),
        ({"measure": ["knn", {"name": "knn", "k": 3}]}, "measure: found 'knn' twice"),
        ({"measure": ["knnn"]}, "measure.0: no such protocol.*did you mean 'knn'"),
        ({"combine": "pair"}, "combine: found 'pair', allowed: 'grid', 'paired'"),
        (
            {"combine": "paired", "vary": {"optim.lr": [1, 2], "train.global_batch": [8]}},
            "vary: optim.lr has 2, train.global_batch has 1; allowed with combine: paired: lists",
        ),
    ],
)
def test_what_is_refused(given, told):
    with pytest.raises(ConfigError, match=told):
        read(**given)


def test_every_fault_of_a_file_comes_at_once(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text("base: image/quickstart\nvary: 3\nseeds: []\nparallel: 0\n")
    with pytest.raises(ConfigError) as caught:
        load_ablation(str(file))
    assert {fault.path for fault in caught.value.faults} == {"vary", "seeds", "parallel", "budget"}
    assert str(file) in str(caught.value)
