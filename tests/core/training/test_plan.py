"""How a step is shared out: the same samples and masks whatever the number of processes."""

from __future__ import annotations

import pytest
import torch
from tiny_run import tiny

from jepa.core.build import Built, build
from jepa.core.config import RunConfig
from jepa.core.data.loading import load
from jepa.core.data.opening import open_source
from jepa.core.errors import ConfigError
from jepa.core.tokens import Masks
from jepa.core.training.plan import Plan

TWO_VIEWS = "masks=[{name: multiblock, min_keep: 4}, {name: multiblock, min_keep: 4}]"


def share(
    config: RunConfig, built: Built, processes: int, first: int, last: int
) -> tuple[list[torch.Tensor], list[list[list[Masks]]]]:
    """Inputs [B, *S] and B masks a view, of whole steps put together from their shares."""
    source = open_source(config.data, built.modality)
    inputs: list[list[torch.Tensor]] = [[] for _ in range(first, last)]
    views: list[list[tuple[Masks, ...]]] = [[] for _ in range(first, last)]
    for rank in range(processes):
        plan = Plan(config, rank, processes, len(source))
        loaded = load(
            source,
            built.modality,
            seed=config.train.seed,
            global_batch=plan.global_batch,
            start=plan.rank * plan.local,
            count=plan.local,
            first_step=first,
            last_step=last,
            workers=0,
            prefetch=1,
            pin_memory=False,
        )
        for batch in loaded:
            at = batch.step - first
            inputs[at].append(batch.inputs)
            views[at] += [
                plan.masks(built.samplers, batch.step, micro)
                for micro in range(config.train.accumulate)
            ]
    # Groups differ in K, so that a step is no tensor.
    rows = [
        [
            [Masks(*row) for masks in view for row in zip(*masks, strict=True)]
            for view in zip(*step, strict=True)
        ]
        for step in views
    ]
    return [torch.cat(step) for step in inputs], rows


def same(masks: list[list[list[Masks]]], others: list[list[list[Masks]]]) -> bool:
    return all(
        torch.equal(a, b)
        for step, other_step in zip(masks, others, strict=True)
        for view, other_view in zip(step, other_step, strict=True)
        for row, other in zip(view, other_view, strict=True)
        for a, b in zip(row, other, strict=True)
    )


def test_masks_are_those_of_the_moment_in_the_schedule() -> None:
    """A curriculum moves over the schedule that `train.epochs` gives, not that of the run."""
    curriculum = "{name: curriculum, first: {name: multiblock, min_keep: 4}, last: random}"
    config = tiny(f"masks=[{curriculum}]", "train.epochs=10", "train.steps_per_epoch=10")
    built = build(config)
    plan = Plan(config, 0, 1, 100)
    targets = [plan.masks(built.samplers, step, 0)[0].targets.shape[1] for step in range(100)]
    assert set(targets) == {1, 4}
    assert targets[0] == 4
    assert targets[:30].count(1) < 10 < 20 < targets[70:].count(1)


@pytest.mark.parametrize("sampler", ["multiblock", "multiblock_official"])
@pytest.mark.parametrize("group", [None, 4])
def test_samples_and_masks_do_not_depend_on_who_shares(sampler: str, group: int | None) -> None:
    group_text = "null" if group is None else group
    view = f"{{name: {sampler}, min_keep: 4, trim_group: {group_text}}}"
    overrides = ["train.global_batch=16", f"masks=[{view}, {view}]"]
    # A group must not be cut apart, nor may a micro-step hold several.
    alone = tiny(*overrides, f"train.accumulate={16 // (group or 16)}")
    built = build(alone)
    inputs, masks = share(alone, built, 1, 3, 6)
    first, second = masks[0]
    assert not same([[first]], [[second]]), "views must draw apart"
    for processes, accumulate in ((2, 1), (4, 1), (1, 4), (2, 2), (4, 4)):
        if group is not None and group % (16 // (processes * accumulate)):
            continue
        config = tiny(*overrides, f"train.accumulate={accumulate}")
        again, drawn = share(config, built, processes, 3, 6)
        assert all(torch.equal(a, b) for a, b in zip(inputs, again, strict=True))
        assert same(masks, drawn), (processes, accumulate)


def test_a_run_continued_elsewhere_keeps_samples_and_masks() -> None:
    config = tiny(TWO_VIEWS)
    built = build(config)
    inputs, masks = share(config, built, 1, 0, 6)
    first, masks_first = share(config, built, 1, 0, 3)
    then, masks_then = share(config, built, 4, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(inputs, first + then, strict=True))
    assert same(masks, masks_first + masks_then)


def test_every_place_belongs_to_one_process_and_micro_step() -> None:
    config = tiny("train.global_batch=24", "train.accumulate=2")
    plans = [Plan(config, rank, 3, 8000) for rank in range(3)]
    assert {(p.local, p.micro) for p in plans} == {(8, 4)}
    assert plans[0].steps_per_epoch == 333


@pytest.mark.parametrize(
    ("batch", "processes", "accumulate", "near"),
    [(10, 4, 1, "8 or 12"), (10, 2, 2, "8 or 12"), (3, 4, 1, "such as 4"), (7, 3, 1, "6 or 9")],
)
def test_a_batch_that_does_not_divide_is_refused(
    batch: int, processes: int, accumulate: int, near: str
) -> None:
    config = tiny(f"train.global_batch={batch}", f"train.accumulate={accumulate}")
    with pytest.raises(ConfigError, match=near) as caught:
        Plan(config, 0, processes, 8000)
    assert caught.value.faults[0].path == "train.global_batch"
    assert f"found {batch}" in str(caught.value)


@pytest.mark.parametrize(
    ("batch", "processes", "accumulate", "group"),
    [(16, 1, 1, 4), (24, 1, 1, 6), (24, 2, 2, 4), (24, 1, 4, 8), (18, 2, 1, 5), (16, 1, 1, 1)],
)
def test_a_cut_group_is_refused_with_an_accumulate_that_works(
    batch: int, processes: int, accumulate: int, group: int
) -> None:
    def plan(micro_steps: int) -> Plan:
        return Plan(
            tiny(f"train.global_batch={batch}", f"train.accumulate={micro_steps}"),
            0,
            processes,
            8000,
        )

    samplers = build(
        tiny(f"masks=[{{name: multiblock, min_keep: 4, trim_group: {group}}}]")
    ).samplers
    with pytest.raises(ConfigError, match="trim_group") as caught:
        plan(accumulate).check_groups(samplers)
    assert caught.value.faults[0].path == "masks.0.trim_group"
    advised = int(str(caught.value).split("train.accumulate=")[1].split()[0])
    fixed = plan(advised)
    fixed.check_groups(samplers)
    for micro in range(advised):
        fixed.masks(samplers, 0, micro)


def test_a_group_as_large_as_the_batch_is_no_obstacle() -> None:
    config = tiny("train.global_batch=8", "train.accumulate=4")
    samplers = build(tiny("masks=[{name: multiblock, min_keep: 4, trim_group: 9}]")).samplers
    Plan(config, 0, 2, 8000).check_groups(samplers)
