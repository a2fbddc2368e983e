"""The curriculum: who has a step, how that changes over training, and what is refused."""

import pytest
import torch
from sampler_cases import make

from jepa.core.errors import ConfigError
from jepa.core.grid import Grid
from jepa.core.rng import Rng

GRID = Grid((8, 8), ("y", "x"))
FIRST = {"name": "multiblock", "min_keep": 4}
LAST = {"name": "random", "ratio": 0.25}


def curriculum(**settings):
    return make("curriculum", GRID, **{"first": FIRST, "last": LAST} | settings)


def share_of_last(sampler, progress: float, steps: int = 400) -> float:
    """Of steps with the one target of `last`; `first` has four."""
    drawn = [sampler.sample(2, Rng(0, k, 2, progress=progress)) for k in range(steps)]
    return sum(masks.targets.shape[1] == 1 for masks in drawn) / steps


@pytest.mark.parametrize(
    ("begin", "end", "progress", "expected"),
    [
        (0.0, 1.0, 0.0, 0.0),
        (0.0, 1.0, 0.5, 0.5),
        (0.0, 1.0, 1.0, 1.0),
        (0.25, 0.75, 0.2, 0.0),
        (0.25, 0.75, 0.4, 0.3),
        (0.25, 0.75, 0.8, 1.0),
        (0.5, 0.5, 0.49, 0.0),
        (0.5, 0.5, 0.5, 1.0),
    ],
)
def test_the_last_has_its_share_of_the_steps(begin, end, progress, expected):
    found = share_of_last(curriculum(begin=begin, end=end), progress)
    assert found == pytest.approx(expected, abs=4.5 * (expected * (1 - expected) / 400) ** 0.5)


def test_once_the_last_has_a_step_it_keeps_it():
    """One uniform a step decides, so curricula that differ in pace are paired."""
    sampler, had = curriculum(), torch.zeros(50, dtype=torch.bool)
    for progress in (0.1, 0.4, 0.7, 1.0):
        has = torch.tensor(
            [sampler.sample(2, Rng(0, k, 2, progress=progress)).targets.shape[1] == 1
             for k in range(50)]
        )  # fmt: skip
        assert (had <= has).all()
        had = has
    assert had.all()


def test_all_processes_have_masks_of_the_same_sampler():
    sampler = curriculum()
    for step in range(30):
        shares = [
            sampler.sample(4, Rng(0, step, 4, start, 16, progress=0.5)) for start in (0, 4, 8, 12)
        ]
        assert len({masks.targets.shape[1:] for masks in shares}) == 1
        assert len({masks.context.shape[1] for masks in shares}) == 1


def test_the_window_of_a_group_is_at_the_same_moment():
    """The group reaches through a curriculum within a curriculum, and so does the progress."""
    grouped = FIRST | {"trim_group": 8}
    inner = {"name": "curriculum", "first": LAST, "last": grouped, "end": 0.5}
    sampler = curriculum(first=inner, last=LAST, begin=0.5)
    assert sampler.trim_group == 8
    assert Rng(0, 0, 4, 4, 16, progress=0.3).window(8)[0].progress == 0.3
    middle = [sampler.sample(4, Rng(0, k, 4, 4, 16, progress=0.5)) for k in range(20)]
    assert {masks.targets.shape[1] for masks in middle} == {4}


def test_by_default_it_goes_from_blocks_to_bands():
    """As A-JEPA's; the samplers' own defaults suit grids as large as the paper's."""
    sampler = make("curriculum", Grid((14, 14), ("t", "f")))
    assert sampler.sample(2, Rng(0, 0, 2)).targets.shape[1] == 4
    assert sampler.sample(2, Rng(0, 0, 2, progress=1.0)).targets.shape[1] == 1


@pytest.mark.parametrize(
    ("first", "last", "group"),
    [(None, None, None), (8, None, 8), (None, 8, 8), (8, 8, 8)],
)
def test_the_one_group_that_is_named_holds_for_both(first, last, group):
    settings = {"first": FIRST | {"trim_group": first}, "last": FIRST | {"trim_group": last}}
    assert curriculum(**settings).trim_group == group


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"begin": 0.6, "end": 0.4}, r"end: found 0.4, allowed: begin = 0.6 or more"),
        ({"begin": -0.1}, "begin: found -0.1, allowed: 0 to 1"),
        ({"first": FIRST | {"min_keep": 60}}, r"first: on the grid .*asks for 60"),
        ({"last": {"name": "random", "ratio": 0.001}}, r"last\.ratio: on the grid"),
        ({"last": {"name": "random", "rato": 0.5}}, r"last\.rato: unknown key.*mean 'ratio'"),
        ({"last": "randm"}, r"last.*did you mean 'random'"),
        (
            {"first": FIRST | {"trim_group": 8}, "last": FIRST | {"trim_group": 16}},
            "first has trim_group 8 and last 16, allowed: one group for both",
        ),
    ],
)
def test_what_cannot_work_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        curriculum(**settings)
