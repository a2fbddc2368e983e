"""Random masks: the share that is asked for, and every choice of tokens as likely."""

import math
from collections import Counter

import pytest
from sampler_cases import make

from jepa.core.config import load_run
from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

GRID = Grid((14, 14), ("y", "x"))


@pytest.mark.parametrize(("ratio", "hidden"), [(0.6, 118), (0.5, 98), (0.0026, 1), (0.997, 195)])
def test_the_target_is_the_share_and_the_context_the_rest(ratio, hidden):
    context, targets = make("random", GRID, ratio=ratio).sample(5, Rng(0, 0, 5))
    assert targets.shape == (5, 1, hidden)
    assert context.shape == (5, 196 - hidden)


def test_a_range_is_drawn_once_a_step():
    sampler = make("random", GRID, ratio=[0.4, 0.6])
    shares = [sampler.sample(2, Rng(0, k, 2)).targets.shape[2] / 196 for k in range(400)]
    assert 0.397 < min(shares) < 0.41
    assert 0.59 < max(shares) < 0.603
    assert sum(shares) / 400 == pytest.approx(0.5, abs=4.5 * 0.2 / math.sqrt(12 * 400))


def test_every_choice_is_as_likely_as_any_other():
    sampler = make("random", Grid((5,), ("t",)), ratio=0.4)
    drawn = sampler.sample(6000, Rng(0, 0, 6000)).targets[:, 0]
    counts = Counter(map(tuple, drawn.tolist()))
    assert len(counts) == math.comb(5, 2)
    chi_square = sum((n - 600) ** 2 / 600 for n in counts.values())
    assert chi_square < 27.9  # 9 degrees of freedom, 0.1%


def test_a_greater_ratio_hides_what_a_smaller_one_hides():
    """Paired comparisons: the same seed and step, another ratio."""
    few, many = (make("random", GRID, ratio=r).sample(6, Rng(0, 3, 6)) for r in (0.3, 0.7))
    for less, more in zip(few.targets, many.targets, strict=True):
        assert set(less[0].tolist()) < set(more[0].tolist())


@pytest.mark.parametrize(
    ("ratio", "message"),
    [
        (0.0, "found 0.0, allowed: a share between 0 and 1"),
        (1.0, "found 1.0, allowed: a share between 0 and 1"),
        ([0.6, 0.4], "allowed: a share between 0 and 1, or two of them"),
        ([0.6, 1.0], "allowed: a share between 0 and 1, or two of them"),
        ([0.4, 0.5, 0.6], "allowed: a number or a list"),
        ("much", "allowed: a number or a list"),
        (0.001, r"ratio: on the grid 14 x 14 \(y, x\) 0.001 of 196 tokens is 0, allowed: 1 to 195"),
        ([0.5, 0.999], "0.999 of 196 tokens is 196, allowed: 1 to 195 tokens"),
    ],
)
def test_a_ratio_that_leaves_nothing_is_refused(ratio, message):
    with pytest.raises(ConfigError, match=message):
        make("random", GRID, ratio=ratio)


@pytest.mark.parametrize("wrong", ["[0.4]", "[0.4, 0.5, 0.6]", ".nan", "often"])
def test_a_ratio_of_another_form_is_told_the_form(wrong):
    with pytest.raises(ConfigError, match=r"ratio: found .*allowed: a number or a list of 2"):
        load_run("image/quickstart", [f"masks=[{{name: random, ratio: {wrong}}}]"])
