"""The comparison adds up, and does not look at test labels."""

import io
from itertools import pairwise

import attrs
import pytest
import torch
from rich.console import Console

from jepa.core import registry
from jepa.core.data.opening import open_source
from jepa.core.errors import DataError
from jepa.evaluation.candidates import candidates, labelled_splits
from jepa.evaluation.comparison import TABLE_WIDTH, Candidate, compare, table
from jepa.evaluation.features import Labelled
from jepa.evaluation.knn import Knn
from jepa.evaluation.linear import Linear
from jepa.evaluation.loading import load_backbone

PROTOCOLS = {"k-NN": Knn(Knn.Config()), "linear": Linear(Linear.Config())}


def blobs(n: int, seed: int, signal: float) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 4
    features = torch.randn(n, 8, generator=rng)
    features[torch.arange(n), labels] += signal
    return Labelled(features, labels)


def candidate(name: str, *signals: float) -> Candidate:
    train = tuple(blobs(400, i, signal) for i, signal in enumerate(signals))
    test = tuple(blobs(300, 10 + i, signal) for i, signal in enumerate(signals))
    return Candidate(name=name, train=train, test=test)


def test_rows_add_up():
    found = compare(
        [candidate("a", 3.0), candidate("b", 1.0, 1.2), candidate("c", 0.0)], PROTOCOLS, 7
    )
    assert [(row.protocol, row.features) for row in found.rows] == [
        (protocol, name) for protocol in ("k-NN", "linear") for name in "abc"
    ]
    assert (found.train_samples, found.test_samples, found.classes) == (400, 300, 7)
    for place, row in enumerate(found.rows):
        assert row.accuracy.low < row.accuracy.value < row.accuracy.high
        if row.features == "a":
            assert row.trained_minus_this is None
            continue
        a = found.rows[place // 3 * 3]
        difference = row.trained_minus_this
        assert difference.value == pytest.approx(a.accuracy.value - row.accuracy.value)
        assert 0 < difference.low < difference.value < difference.high
    assert found.rows[1].sets == 2
    assert abs(found.rows[2].accuracy.value - 0.25) < 0.1


def test_the_table_fits_its_width_and_says_the_numbers():
    found = compare([candidate("trained", 2.0), candidate("random init", 1.0, 1.1)], PROTOCOLS, 4)
    console = Console(width=TABLE_WIDTH, record=True, file=io.StringIO())
    console.print(table(found))
    text = console.export_text()
    for row in found.rows:
        assert f"{100 * row.accuracy.value:.1f}%" in text
    assert "random init (2 seeds)" in text
    assert "…" not in text


def test_shuffled_test_labels_give_chance():
    honest = candidate("a", 3.0)
    (test,) = honest.test
    mixed = test.labels[torch.randperm(300, generator=torch.Generator().manual_seed(1))]
    fooled = attrs.evolve(honest, test=(Labelled(test.features, mixed),))
    for row in compare([fooled], PROTOCOLS, 4).rows:
        assert abs(row.accuracy.value - 0.25) < 0.1


def test_candidates_of_a_run(run_folder):
    frozen = load_backbone(run_folder)
    splits = labelled_splits(frozen.config, frozen.modality)
    found = candidates(
        frozen,
        splits,
        torch.device("cpu"),
        train_samples=60,
        test_samples=40,
        random_inits=2,
    )
    trained, untrained, raw = found
    assert [c.name for c in found] == ["trained", "random init", "raw baseline"]
    assert [len(c.train) for c in found] == [1, 2, 1]
    assert trained.train[0].features.shape == (60, 16)
    assert raw.test[0].features.shape == (40, 784)
    sets = [trained.test[0], *untrained.test]
    for one, other in pairwise(sets):
        assert torch.equal(one.labels, other.labels)
        assert not torch.allclose(one.features, other.features, atol=1e-3)


def test_splits_without_labels_are_refused(config, modality, tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(b"-")
    source = attrs.evolve(config.data.source, name="folder")
    plugin = registry.find("source", "folder")
    source = attrs.evolve(source, plugin=plugin, config=registry.load(plugin).Config())
    data = attrs.evolve(config.data, source=source, root=tmp_path, cache=tmp_path / "cache")
    plain = attrs.evolve(config, data=data)
    assert len(open_source(data, modality)) == 2
    with pytest.raises(DataError, match="'train' of the source has no labels"):
        labelled_splits(plain, modality)
    with pytest.raises(DataError):
        labelled_splits(plain, modality, "train", "validation")
