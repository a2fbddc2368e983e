"""The attentive probe against torch's attention, and what averages cannot tell."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_samples import ToySamples, shuffled

from jepa.core.build import seeded
from jepa.core.errors import ConfigError, DataError
from jepa.core.grid import Grid
from jepa.core.settings import structure
from jepa.evaluation.attention import AttentiveProbe
from jepa.evaluation.attentive import (
    Attentive,
    AttentiveConfig,
    device_of,
    logits,
    rate,
    standardisation,
)
from jepa.evaluation.comparison import Candidate, compare
from jepa.evaluation.logistic import Logistic, LogisticConfig, hold_out

CPU = torch.device("cpu")
QUICK = AttentiveConfig(heads=4, width=32, epochs=12, batch=32, lrs=(1e-2, 3e-3), device="cpu")


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one_among_many(n: int, seed: int, classes: int = 3) -> ToySamples:
    """A marked token tells the class by its direction; all others point anywhere, as strongly.

    So the mean over tokens says next to nothing.
    """
    draw = rng(seed)
    directions = 3 * torch.eye(classes, 8)
    tokens = directions[torch.randint(classes, (n, 36), generator=draw)]
    tokens = tokens + 0.3 * torch.randn(n, 36, 8, generator=draw)
    labels = torch.arange(n) % classes
    marked = torch.randint(36, (n,), generator=draw)
    tokens[torch.arange(n), marked] = directions[labels]
    tokens[torch.arange(n), marked, 7] = 4
    return ToySamples(tokens, labels, classes, Grid((6, 6), ("y", "x")))


def accuracy(protocol, train, test, seed=0) -> float:
    found = protocol.predict(train, test, seed)
    assert found.values.shape == (1, len(test))
    return (found.values[0] == test.labels).float().mean().item()


def by_torch(probe: AttentiveProbe, tokens: torch.Tensor) -> torch.Tensor:
    """The block written out with torch's own attention, tokens first and samples second."""
    normed = F.layer_norm(tokens, tokens.shape[2:], probe.norm1.weight, probe.norm1.bias, 1e-6)
    normed = normed.transpose(0, 1)
    query = probe.query.expand(len(tokens), -1)
    attended, _ = F.multi_head_attention_forward(
        query[None], normed, normed, query.shape[1], probe.heads,
        in_proj_weight=None, bias_k=None, bias_v=None, add_zero_attn=False, dropout_p=0.0,
        in_proj_bias=torch.cat([probe.q.bias, torch.zeros_like(probe.q.bias), probe.v.bias]),
        out_proj_weight=probe.proj.weight, out_proj_bias=probe.proj.bias, need_weights=False,
        use_separate_proj_weight=True, q_proj_weight=probe.q.weight, k_proj_weight=probe.k.weight,
        v_proj_weight=probe.v.weight,
    )  # fmt: skip
    x = query + attended[0]
    y = F.layer_norm(x, x.shape[1:], probe.norm2.weight, probe.norm2.bias, 1e-6)
    y = F.gelu(y @ probe.mlp[0].weight.T + probe.mlp[0].bias)
    x = x + y @ probe.mlp[2].weight.T + probe.mlp[2].bias
    return x @ probe.head.weight.T + probe.head.bias


@pytest.mark.parametrize(("features", "dim", "heads"), [(32, 32, 4), (18, 48, 3), (5, 8, 8)])
def test_the_block_equals_torch_s_attention(features, dim, heads):
    with seeded(1):
        probe = AttentiveProbe(features=features, dim=dim, heads=heads, hidden=4 * dim, classes=7)
    for parameter in probe.parameters():
        parameter.data += 0.4 * torch.randn(parameter.shape, generator=rng(2))
    tokens = torch.randn(6, 11, features, generator=rng(0))
    ours, theirs = probe(tokens), by_torch(probe, tokens)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert ours.std(0).min() > 0.05
    names = [name for name, _ in probe.named_parameters()]
    found, expected = (
        torch.autograd.grad(each.square().mean(), list(probe.parameters()))
        for each in (ours, theirs)
    )
    for name, one, other in zip(names, found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3, msg=name)
        assert one.abs().max() > 0, name


def test_it_finds_one_token_among_many_where_the_mean_cannot():
    train, test = one_among_many(600, 0), one_among_many(600, 1)
    linear = accuracy(Logistic(LogisticConfig()), train, test)
    assert linear < 0.6
    assert accuracy(Attentive(QUICK), train, test) > max(0.9, linear + 0.3)


def test_the_learning_rate_is_chosen_on_held_out_training_samples():
    train, test = one_among_many(600, 0), one_among_many(200, 1)
    config = AttentiveConfig(heads=4, width=32, epochs=12, batch=32, lrs=(1e-7, 1e-2), device="cpu")
    found = Attentive(config).predict(train, test, seed=0)
    assert found.details == {"lr": 1e-2}
    # Where labels say nothing, whatever learns them is worse on held-out samples.
    assert Attentive(config).predict(shuffled(train), test, seed=0).details["lr"] < 1e-2
    single = AttentiveConfig(heads=4, width=32, epochs=12, batch=32, lrs=(1e-2,), device="cpu")
    assert torch.equal(Attentive(single).predict(train, test, seed=0).values, found.values)


def test_held_out_samples_are_not_trained_on():
    """Absurd tokens in held-out samples leave the probes of the choice as they were."""
    train = one_among_many(200, 0)
    held = hold_out(train.labels, 5, seed=0)
    used = (~held).nonzero().flatten()
    spoilt = train.tokens().clone()
    spoilt[held] = 1e4

    def logits_of(tokens: torch.Tensor) -> torch.Tensor:
        (probe,), scaling = Attentive(QUICK)._fit(tokens, train.labels, used, [1e-3], 0, CPU)
        return logits(probe, train.tokens(), used, scaling, CPU)

    assert torch.equal(logits_of(train.tokens()), logits_of(spoilt))


def test_probes_trained_together_are_those_trained_alone():
    train = one_among_many(100, 0)
    everyone = torch.arange(100)
    together, _ = Attentive(QUICK)._fit(
        train.tokens(), train.labels, everyone, [1e-2, 1e-3], 0, CPU
    )
    for probe, lr in zip(together, (1e-2, 1e-3), strict=True):
        (alone,), _ = Attentive(QUICK)._fit(train.tokens(), train.labels, everyone, [lr], 0, CPU)
        for one, other in zip(probe.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(one, other)


def test_statistics_of_tokens_far_from_zero_read_in_parts():
    tokens = torch.randn(700, 9, 4, generator=rng(0)) * torch.tensor([1.0, 5, 0, 0.1]) + 100
    used = torch.arange(0, 700, 2)
    mean, deviation = standardisation(tokens, used)
    rows = tokens[used].double().flatten(0, 1)
    torch.testing.assert_close(mean, rows.mean(0).float())
    expected = rows.std(0, correction=0).float()
    torch.testing.assert_close(deviation[[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-5, atol=0)
    assert deviation[2] == 1


def test_half_precision_from_a_file_and_the_same_seed(tmp_path):
    train, test = one_among_many(150, 0), one_among_many(50, 1)
    half = train.tokens().half()
    np.save(tmp_path / "tokens.npy", half.numpy())
    stored = torch.from_numpy(np.load(tmp_path / "tokens.npy", mmap_mode="r+"))
    state = torch.get_rng_state()
    scores = []
    for tokens, seed in ((half.float(), 4), (stored, 4), (stored, 5)):
        (probe,), scaling = Attentive(QUICK)._fit(
            tokens, train.labels, torch.arange(150), [1e-3], seed, CPU
        )
        scores.append(logits(probe, test.tokens(), torch.arange(50), scaling, CPU))
    assert torch.equal(scores[0], scores[1])
    assert not torch.equal(scores[1], scores[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_test_samples_are_judged_blind_and_shuffled_labels_give_chance():
    train, test = one_among_many(600, 0), one_among_many(300, 1)
    for name, samples in (("honest", train), ("mixed", shuffled(train))):
        candidate = Candidate(name=name, train=(samples,), test=(test,))
        (row,) = compare([candidate], {"attentive": Attentive(QUICK)}).rows
        assert row.metric == "accuracy"
        if name == "honest":
            assert row.score.value > 0.85
        else:
            assert abs(row.score.value - 1 / 3) < 0.1


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    rates = [rate(step, 100, 0.1) for step in range(100)]
    assert rates[:10] == sorted(rates[:10])
    assert rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[0] < 0.1
    assert 0 < rates[-1] < 1e-3
    assert rate(0, 1, 0.0) == 1
    assert all(0 < rate(step, 3, 1.0) < 1 for step in range(3))


def test_default_widths_fit_every_candidate():
    for features, dim in ((96, 128), (18, 128), (768, 768), (784, 784), (130, 144)):
        probe = Attentive(AttentiveConfig())._probe(features, 10, seed=0)
        assert probe.query.shape == (1, dim)
        assert probe.mlp[0].weight.shape == (4 * dim, dim)
        assert probe(torch.randn(2, 3, features, generator=rng(0))).shape == (2, 10)


def test_a_fit_that_diverges_says_so():
    train = one_among_many(60, 0)
    wild = AttentiveConfig(heads=2, width=8, epochs=3, lrs=(1e30, 1e32), device="cpu")
    with pytest.raises(DataError, match=r"diverged, at the learning rate 1e\+30"):
        Attentive(wild).predict(train, train, seed=0)
    one_of_two = AttentiveConfig(heads=2, width=8, epochs=3, lrs=(1e30, 1e-3), device="cpu")
    assert Attentive(one_of_two).predict(train, train, seed=0).details == {"lr": 1e-3}


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="width: found 30, allowed: a multiple of the 16 heads"):
        Attentive(AttentiveConfig(width=30))
    for setting in ({"heads": 0}, {"lrs": []}, {"warmup": 1.5}, {"device": "gpu"}, {"epoch": 3}):
        with pytest.raises(ConfigError):
            structure(setting, AttentiveConfig)
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device: found cuda"):
            device_of("cuda")
    assert device_of("cpu") == CPU
