"""Features belong to their samples, and are what a plain forward pass gives."""

import numpy as np
import pytest
import torch

from jepa.core.data.loading import evaluation_batches
from jepa.core.data.opening import open_source
from jepa.core.errors import DataError
from jepa.evaluation.features import choose, collect, pooled, samples_to_show

CPU = torch.device("cpu")


@pytest.fixture
def source(config, modality):
    return open_source(config.data, modality, "test")


def test_equal_to_a_plain_forward_pass_sample_by_sample(source, modality, trained):
    indices = [5, 900, 17, 1999, 400]
    batches = evaluation_batches(source, modality, 2, 0, indices)
    describers = [
        pooled(trained, modality, CPU),
        pooled(trained, modality, CPU, layers=4),
        modality.baseline,
    ]
    last, four, raw = collect(batches, describers, CPU)
    assert last.labels.tolist() == source.labels()[indices].tolist()
    assert (last.features.shape, four.features.shape) == ((5, 16), (5, 64))
    assert last.features.dtype == torch.float32
    prepare = modality.device_transform()
    for row, index in enumerate(indices):
        inputs = modality.eval_input(source.item(index).content)[None]
        with torch.no_grad():
            mean = trained(prepare(inputs)).mean(1)[0]
        torch.testing.assert_close(last.features[row], mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(four.features[row, -16:], mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(raw.features[row], modality.baseline(inputs)[0])
    assert not last.features.is_inference()


def test_without_labels_nothing_can_be_fitted(source, modality):
    batches = [b._replace(labels=None) for b in evaluation_batches(source, modality, 4, 0, [1, 2])]
    with pytest.raises(DataError, match="no labels"):
        collect(batches, [modality.baseline], CPU)


def test_the_choice_of_samples_is_fixed_and_fair(source):
    chosen = choose(source, 500)
    assert np.array_equal(chosen, choose(source, 500))
    assert len(np.unique(chosen)) == 500
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(source.labels()[chosen]).min() > 25  # of 50 expected a class
    assert choose(source, None).tolist() == choose(source, 10**6).tolist() == list(range(2000))


def test_pictures_show_each_class(source):
    assert source.labels()[samples_to_show(source, 10)].tolist() == list(range(10))
