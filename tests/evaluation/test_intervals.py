"""Intervals cover the truth as often as they say."""

import pytest
import torch

from jepa.evaluation.intervals import paired_bootstrap, wilson


def test_wilson_by_hand():
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81 / 263, 263).low == pytest.approx(0.2553, abs=5e-5)
    assert wilson(81 / 263, 263).high == pytest.approx(0.3662, abs=5e-5)
    assert wilson(0.0, 20).low == 0
    assert wilson(0.0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert wilson(1.0, 20).high == 1


def test_paired_bootstrap_covers_the_true_difference():
    rng = torch.Generator().manual_seed(0)
    covered = 0
    for trial in range(200):
        shared = torch.rand(300, generator=rng)
        a, b = shared < 0.7, shared + 0.1 * torch.randn(300, generator=rng) < 0.6
        interval = paired_bootstrap(a.float(), b.float(), seed=trial, resamples=400)
        truth = 0.7 - 0.6004  # P(U + 0.1 Z < 0.6), by integration
        covered += interval.low <= truth <= interval.high
    assert 180 <= covered <= 199


def test_pairing_narrows_the_interval():
    rng = torch.Generator().manual_seed(0)
    shared = torch.rand(1000, generator=rng)
    a, b = (shared < 0.7).float(), (shared < 0.6).float()
    paired = paired_bootstrap(a, b, seed=0)
    apart = paired_bootstrap(a, b[torch.randperm(1000, generator=rng)], seed=0)
    assert paired.high - paired.low < 0.7 * (apart.high - apart.low)
    assert paired.value == pytest.approx((a - b).mean().item())
    assert paired == paired_bootstrap(a, b, seed=0)
