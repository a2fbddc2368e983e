"""Features belong to their samples, and are what a plain forward pass gives."""

import numpy as np
import pytest
import torch

from jepa.core.data.loading import evaluation_batches
from jepa.core.data.opening import open_source
from jepa.core.errors import ConfigError
from jepa.core.interfaces import Tokenizer
from jepa.evaluation.features import (
    choose,
    choose_wholes,
    has_content,
    plain,
    pooled,
    samples_to_show,
    stream,
)
from jepa.testing.toys import Given

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
    found = list(stream(batches, describers, CPU))
    last, four, raw = (torch.cat(parts) for parts in zip(*(each for _, each in found), strict=True))
    labels = torch.cat([batch.labels for batch, _ in found])
    assert labels.tolist() == source.labels()[indices].tolist()
    assert (last.shape, four.shape) == ((5, 16), (5, 64))
    assert last.dtype == torch.float32
    prepare = modality.device_transform()
    for row, index in enumerate(indices):
        inputs = modality.eval_input(source.item(index).content)[None]
        with torch.no_grad():
            mean = trained(prepare(inputs)).mean(1)[0]
        torch.testing.assert_close(last[row], mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(four[row, -16:], mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(raw[row], modality.baseline(inputs)[0])


class Overlapping(Tokenizer):
    """Tokens without a content of their own."""

    def forward(self, inputs):
        raise NotImplementedError

    def grid_for(self, shape):
        raise NotImplementedError

    def raw(self, inputs):
        raise ConfigError("tokens overlap")


def test_where_tokens_overlap_the_baseline_is_the_only_token(source, modality, trained):
    (batch,) = evaluation_batches(source, modality, 3, 0, [1, 2, 3])
    assert has_content(trained.tokenizer, modality)
    assert not has_content(Overlapping(), modality)
    layers, deviations, tokens = plain(Overlapping(), modality, CPU)(batch.inputs)
    torch.testing.assert_close(layers[:, 0], modality.baseline(batch.inputs).float())
    assert torch.equal(tokens, layers)
    assert deviations.shape == (3, 1, 0)


def test_the_choice_of_samples_is_fixed_and_fair(source):
    chosen = choose(source, 500)
    assert np.array_equal(chosen, choose(source, 500))
    assert len(np.unique(chosen)) == 500
    assert (np.diff(chosen) > 0).all()
    assert np.bincount(source.labels()[chosen]).min() > 25  # of 50 expected a class
    assert choose(source, None).tolist() == choose(source, 10**6).tolist() == list(range(2000))


class InParts(Given):
    """Twenty wholes of three parts that lie apart, and one of twelve."""

    of = np.append(np.arange(60) % 20, np.full(12, 20))

    def wholes(self):
        return self.of


def test_wholes_are_chosen_entire_and_as_if_they_had_no_parts():
    parts, alone = InParts([np.zeros(1)] * 72), Given([np.zeros(1)] * 21)
    for limit in (1, 2, 5, 20, 21, 50, None):
        wanted = choose(alone, limit)
        assert choose_wholes(alone, limit).tolist() == wanted.tolist()
        found = choose_wholes(parts, limit)
        assert found.tolist() == np.flatnonzero(np.isin(parts.of, wanted)).tolist()
    assert len(choose(parts, 20)) == 20, "what is fitted on is drawn by parts"


def test_pictures_show_each_class(source):
    assert source.labels()[samples_to_show(source, 10)].tolist() == list(range(10))
