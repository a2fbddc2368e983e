"""Trained, untrained and raw: the same samples, decoded once, kept on the disk."""

import shutil
from itertools import pairwise
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from PIL import Image

from jepa.core import registry
from jepa.core.config import load_run
from jepa.core.data.opening import open_source
from jepa.core.errors import ConfigError, DataError
from jepa.evaluation import candidates as candidates_module
from jepa.evaluation import extraction
from jepa.evaluation.candidates import Splits, candidates, labelled_splits
from jepa.evaluation.features import Features
from jepa.evaluation.loading import find_checkpoint, load_backbone

CPU = torch.device("cpu")


@pytest.fixture
def found(run_folder, tmp_path):
    """Makes the candidates of the run, features kept in a folder."""

    def make(splits=None, **settings):
        frozen = load_backbone(run_folder)
        settings = {"train_samples": 60, "test_samples": 40, "random_inits": 2, **settings}
        return candidates(
            frozen,
            find_checkpoint(run_folder).path,
            splits or labelled_splits(frozen.config, frozen.modality),
            CPU,
            cache=tmp_path / "features",
            **settings,
        )

    return make


def test_the_candidates_of_a_run(found, trained, modality):
    one, untrained, raw = found()
    assert [c.name for c in (one, untrained, raw)] == ["trained", "random init", "raw baseline"]
    assert [len(c.train) for c in (one, untrained, raw)] == [1, 2, 1]
    assert one.train[0].pooled().shape == (60, 16)
    assert one.train[0].pooled(4).shape == (60, 64)
    assert one.test[0].tokens().shape == (40, 49, 16)
    assert raw.test[0].pooled().shape == raw.test[0].pooled(3).shape == (40, 784)
    assert raw.test[0].tokens().shape == (40, 49, 16 + 2)
    assert one.train[0].grid.shape == raw.train[0].grid.shape == (7, 7)
    assert len(one.train[0].classes) == 10
    for first, other in pairwise([one.test[0], *untrained.test]):
        assert torch.equal(first.labels, other.labels)
        assert not torch.allclose(first.pooled(), other.pooled(), atol=1e-3)
    (batch,) = one.test[0].batches(64)
    with torch.no_grad():
        tokens = trained(modality.device_transform()(batch.inputs))
    torch.testing.assert_close(one.test[0].pooled(), tokens.mean(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(one.test[0].pooled(4)[:, -16:], one.test[0].pooled())
    torch.testing.assert_close(one.test[0].tokens().float(), tokens, atol=5e-3, rtol=5e-3)


def test_deviations_over_tokens_follow_the_means(found, trained, modality):
    one, _, raw = found()
    (batch,) = one.test[0].batches(64)
    with torch.no_grad():
        tokens = trained(modality.device_transform()(batch.inputs))
    spread = (tokens - tokens.mean(1, keepdim=True)).square().mean(1).sqrt()
    both = one.test[0].pooled(pool="mean_std")
    torch.testing.assert_close(both[:, :16], one.test[0].pooled())
    torch.testing.assert_close(both[:, 16:], spread, atol=1e-5, rtol=1e-4)
    four = one.test[0].pooled(4, pool="mean_std")
    assert torch.equal(four[:, :64], one.test[0].pooled(4))
    assert torch.equal(four[:, -16:], both[:, 16:])
    assert torch.equal(raw.test[0].pooled(pool="mean_std"), raw.test[0].pooled())
    again = found()  # from the disk
    assert torch.equal(again[0].test[0].pooled(pool="mean_std"), both)
    assert torch.equal(again[2].test[0].pooled(pool="mean_std"), raw.test[0].pooled())


def test_raw_tokens_are_content_and_place(found, modality):
    raw = found()[2].test[0]
    (batch,) = raw.batches(64)
    tokens = raw.tokens().float()
    prepared = modality.device_transform()(batch.inputs)
    torch.testing.assert_close(
        tokens[:, 8, :16], prepared[:, 0, 4:8, 4:8].flatten(1), atol=2e-3, rtol=2e-3
    )
    corners = tokens[0, [0, 6, 42, 48], 16:]
    assert corners.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]


def test_some_of_the_samples(found):
    whole = found()[0].test[0]
    places = torch.tensor([7, 3, 30])
    part = whole.take(places)
    assert len(part) == 3
    assert torch.equal(part.labels, whole.labels[places])
    assert torch.equal(part.pooled(2), whole.pooled(2)[places])
    assert torch.equal(part.tokens(), whole.tokens()[places])
    assert torch.equal(part.take(torch.tensor([2])).labels, whole.labels[[30]])
    (batch,) = part.batches(8)
    (everyone,) = whole.batches(64)
    assert torch.equal(batch.inputs, everyone.inputs[places])
    assert torch.equal(batch.labels, part.labels)


def test_training_batches_have_the_labels_of_their_samples(found, tmp_path, modality):
    """Each picture is of one value, which no crop changes and which tells its class."""
    part = found(_class_folders(tmp_path, modality))[0].train[0].take(torch.arange(10))
    value_to_label = {10 * place: place % 2 for place in range(12)}
    seen = list(part.training_batches(4, 6, seed=1))
    assert [len(batch.inputs) for batch in seen] == [4] * 6
    for batch in seen:
        values = batch.inputs.flatten(1).float().mean(1).round().int().tolist()
        assert [value_to_label[value] for value in values] == batch.labels.tolist()
    again = [batch.inputs for batch in part.training_batches(4, 6, seed=1)]
    assert all(torch.equal(one.inputs, other) for one, other in zip(seen, again, strict=True))
    others = [batch.inputs for batch in part.training_batches(4, 6, seed=2)]
    assert not all(torch.equal(one.inputs, other) for one, other in zip(seen, others, strict=True))
    (whole,) = part.training_batches(999, 1, seed=0)  # a smaller set makes smaller batches
    assert sorted(whole.labels.tolist()) == sorted(part.labels.tolist())


def test_features_are_kept_and_read_again(found, tmp_path, monkeypatch):
    first = found()[0].train[0].pooled(4)
    files = list((tmp_path / "features").iterdir())
    assert len(files) == 1

    def never(*arguments):
        raise AssertionError("features were extracted again")

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "evaluation_batches", never)
        one, untrained, _ = found()
        assert torch.equal(one.train[0].pooled(4), first)
        assert untrained.train[1].pooled().shape == (60, 16)
        assert one.train[0].labels.shape == (60,)
        with pytest.raises(AssertionError):  # other samples are other features
            found(train_samples=61)[0].train[0].pooled()
    files[0].write_bytes(files[0].read_bytes()[:-5])
    assert torch.equal(found()[0].train[0].pooled(4), first)
    assert len(list((tmp_path / "features").iterdir())) == 1


def test_other_files_of_the_same_names_have_features_of_their_own(found, tmp_path, modality):
    """Another version of a data set (noisier, darker) often bears the same names."""
    splits = _class_folders(tmp_path, modality)
    first = found(splits)[2].train[0].pooled()
    for place, file in enumerate(sorted((tmp_path / "data" / "train").rglob("*.png"))):
        Image.fromarray(np.full((28, 28), 255 - place, dtype=np.uint8)).save(file)
    second = found(splits)[2].train[0].pooled()
    assert not torch.allclose(first, second)
    assert second.min() > 0.9


def test_a_file_that_was_mended_is_no_longer_left_out(found, tmp_path, modality):
    splits = _class_folders(tmp_path, modality)
    file = tmp_path / "data" / "train" / "b" / "7.png"
    whole = file.read_bytes()
    file.write_bytes(b"")
    assert len(found(splits)[0].train[0]) == 11
    file.write_bytes(whole)
    assert len(found(splits)[0].train[0]) == 12


def test_a_disk_that_is_too_small_is_said_before_it_is_filled(found, monkeypatch):
    """All candidates count together: 60 samples of 49 tokens, of 3 networks and the content."""
    needed = 60 * 49 * 2 * (3 * 16 + 18)

    def usage(free: int):
        return lambda folder: SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage(needed - 1))
    with pytest.raises(DataError, match="set TMPDIR to a larger disk"):
        found()[0].train[0].tokens()
    monkeypatch.setattr(shutil, "disk_usage", usage(needed))
    assert found()[0].train[0].tokens().shape == (60, 49, 16)


def test_tokens_that_half_precision_cannot_hold_are_refused(found, monkeypatch):
    huge = Features(torch.ones(2, 1, 3), torch.ones(2, 1, 3), torch.full((2, 4, 3), 1e6))
    monkeypatch.setattr(candidates_module, "plain", lambda *arguments: lambda inputs: huge)
    with pytest.raises(DataError, match="raw baseline: tokens are not finite, or too large"):
        found(train_samples=2)[2].train[0].tokens()


def test_nothing_is_computed_before_it_is_asked_for(found, monkeypatch, tmp_path):
    found()
    assert not (tmp_path / "features").exists()


def test_samples_that_cannot_be_decoded_are_left_out_alike(found, tmp_path, modality):
    splits = _class_folders(tmp_path, modality)
    broken = sorted((tmp_path / "data").rglob("5.png"))
    assert len(broken) == 2
    for file in broken:
        file.write_bytes(b"not a picture")
    one, _, raw = found(splits)
    assert len(one.train[0]) == len(raw.test[0]) == 11
    assert one.train[0].tokens().shape[0] == 11
    assert torch.equal(one.train[0].labels, raw.train[0].labels)
    (batch,) = one.train[0].batches(16)
    assert torch.equal(batch.labels, one.train[0].labels)


def _class_folders(tmp_path, modality) -> Splits:
    """Twelve pictures a split, each of one value: 10 times its number; two classes in turn."""
    for split in ("train", "test"):
        for place in range(12):
            folder = tmp_path / "data" / split / "ab"[place % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = np.full((28, 28), 10 * place, dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    settings = [
        "data.source=class_folders",
        f"data.root={tmp_path / 'data'}",
        f"data.cache={tmp_path / 'cache'}",
    ]
    data = load_run("image/quickstart", settings).data
    return Splits(
        train=open_source(data, modality, "train"), test=open_source(data, modality, "test")
    )


def test_a_network_to_train_further_is_a_copy(found):
    one, untrained, raw = found()
    samples = one.train[0]
    copy = samples.network()
    (batch,) = samples.batches(64)
    with torch.no_grad():
        tokens = copy.backbone.eval()(copy.prepare(batch.inputs))
    torch.testing.assert_close(samples.pooled(), tokens.mean(1), atol=1e-5, rtol=1e-5)
    assert all(p.requires_grad for p in copy.backbone.parameters() if p.is_floating_point())
    before = samples.network().backbone.state_dict()
    for parameter in copy.backbone.parameters():
        parameter.data.zero_()
    for name, tensor in samples.network().backbone.state_dict().items():
        assert torch.equal(tensor, before[name])
    other = untrained.train[0].network().backbone.state_dict()
    assert any(not torch.equal(other[name], tensor) for name, tensor in before.items())
    assert raw.train[0].network() is None
    dropping = samples.network(["model.encoder.drop_path=0.5"]).backbone.train()
    with torch.no_grad():
        dropped = dropping(copy.prepare(batch.inputs))
    assert not torch.allclose(dropped, tokens, atol=1e-2)
    with pytest.raises(ConfigError, match="drop_pth"):
        samples.network(["model.encoder.drop_pth=0.5"])
    with pytest.raises(ConfigError, match="the weights do not fit"):
        samples.network(["model.encoder.depth=2"])


def test_more_layers_than_are_kept(found):
    with pytest.raises(ConfigError, match="layers: found 5, allowed: 1 to 4"):
        found()[0].train[0].pooled(5)


def test_quantities_of_a_source_that_has_none(found):
    with pytest.raises(DataError, match=r"asked for the quantity 'nearest'.*measures none"):
        found()[0].train[0].quantity("nearest")


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


def test_splits_of_different_classes_are_refused(config, modality, tmp_path):
    other = _class_folders(tmp_path, modality).train
    with pytest.raises(DataError, match=r"different classes, found 2 \(a, b\) and 10 \(.*\.\.\."):
        Splits(train=other, test=open_source(config.data, modality, "test"))
