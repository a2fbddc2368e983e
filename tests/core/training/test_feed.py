"""The background thread that readies the next step."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from tiny_run import tiny

from jepa.core.build import build
from jepa.core.data.bad_samples import BadSample
from jepa.core.data.loading import Loaded
from jepa.core.errors import DataError
from jepa.core.training.feed import feed
from jepa.core.training.plan import Plan

CPU = torch.device("cpu")


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "jepa-feed"]


def loaded(step: int) -> Loaded:
    inputs = torch.full((8, 1, 28, 28), step, dtype=torch.uint8)
    return Loaded(step, inputs, (BadSample(step, "x", "why", 0),))


def batches(steps: int, made: list[int] | None = None) -> Iterator[Loaded]:
    for step in range(steps):
        if made is not None:
            made.append(step)
        yield loaded(step)


def test_gives_every_step_in_order_cut_into_micro_steps() -> None:
    config = tiny("train.accumulate=4")
    samplers = build(config).samplers
    plan = Plan(config, 0, 1, 8000)
    works = list(feed(batches(5), samplers, plan, CPU))
    assert [work.step for work in works] == list(range(5))
    assert threads() == []
    for work in works:
        assert work.bad == (BadSample(work.step, "x", "why", 0),)
        assert [len(micro.inputs) for micro in work.micros] == [2] * 4
        assert all((micro.inputs == work.step).all() for micro in work.micros)
        for place, micro in enumerate(work.micros):
            wanted = plan.masks(samplers, work.step, place)
            assert all(
                torch.equal(a, b)
                for got, want in zip(micro.views, wanted, strict=True)
                for a, b in zip(got, want, strict=True)
            )


def test_is_ahead_by_a_bounded_number_of_steps_and_ends_when_closed() -> None:
    config = tiny()
    made: list[int] = []
    items = feed(batches(1000, made), build(config).samplers, Plan(config, 0, 1, 8000), CPU)
    for wanted in range(5):
        assert next(items).step == wanted
    items.close()
    assert threads() == []
    # In use, in the queue, and waiting for a place in it.
    assert 5 <= len(made) <= 8


def test_an_error_comes_out_where_the_items_are_used_and_after_them() -> None:
    def failing() -> Iterator[Loaded]:
        yield from batches(2)
        raise DataError("20 samples in a row")

    config = tiny()
    items = feed(failing(), build(config).samplers, Plan(config, 0, 1, 8000), CPU)
    assert [next(items).step, next(items).step] == [0, 1]
    with pytest.raises(DataError, match="20 samples"):
        next(items)
    assert threads() == []
