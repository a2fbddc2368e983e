from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from jepa.core.data.loading import Loaded, evaluation_batches, load
from jepa.core.data.source import Item, Source
from jepa.core.data.workers import resolve_workers
from jepa.core.errors import DataError, DecodeError, JepaError
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content, Modality
from jepa.core.rng import SampleRng


class Numbers(Source):
    """Sample i is the number i; some are missing, some unreadable."""

    @attrs.frozen(kw_only=True)
    class Config:
        n: int = 50
        missing: frozenset[int] = frozenset()
        broken: frozenset[int] = frozenset()

    def __init__(self, config: Config) -> None:
        self.config = config

    def __len__(self) -> int:
        return self.config.n

    def item(self, index: int) -> Item:
        if index in self.config.missing:
            raise DecodeError("no such member")
        value = -1 if index in self.config.broken else index
        return Item(np.array([value]), f"number {index}", index % 3)

    @property
    def classes(self) -> tuple[str, ...]:
        return ("a", "b", "c")

    def labels(self) -> np.ndarray:
        return np.arange(self.config.n) % 3

    def fingerprint(self) -> str:
        return "numbers"


class Pairs(Modality):
    """Inputs are (the number, a random number)."""

    extensions = frozenset()

    @attrs.frozen(kw_only=True)
    class Config:
        pass

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        return {}

    @property
    def spec(self) -> InputSpec:
        return InputSpec((2,), ("t",))

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        assert torch.get_num_threads() == 1 or multiprocessing.parent_process() is None
        return torch.tensor([self._value(content), rng.uniforms(1)[0]])

    def eval_input(self, content: Content) -> Tensor:
        return torch.tensor([self._value(content), 0.0])

    @staticmethod
    def _value(content: Content) -> float:
        if content[0] < 0:
            raise OSError("truncated")
        return float(content[0])

    def device_transform(self) -> nn.Module:
        return nn.Identity()

    def preview(self, inputs: Tensor) -> Tensor:
        return inputs

    def baseline(self, inputs: Tensor) -> Tensor:
        return inputs


def run(
    source: Source, modality: Modality | None = None, *, workers: int = 0, **changes: Any
) -> Iterator[Loaded]:
    settings = {
        "seed": 7, "global_batch": 8, "start": 0, "count": 8, "first_step": 0, "last_step": 14,
        "workers": workers, "prefetch": 2, "pin_memory": False,
    } | changes  # fmt: skip
    return load(source, modality or Pairs(), **settings)


def same(one: list[Loaded], two: list[Loaded]) -> None:
    assert [loaded.step for loaded in one] == [loaded.step for loaded in two]
    for a, b in zip(one, two, strict=True):
        torch.testing.assert_close(a.inputs, b.inputs, rtol=0, atol=0)
        assert a.bad == b.bad


DAMAGED = Numbers.Config(missing=frozenset({3, 30}), broken=frozenset({4, 5, 49}))


@pytest.mark.parametrize("config", [Numbers.Config(), DAMAGED], ids=["whole", "damaged"])
def test_any_number_of_workers_gives_the_same(config):
    source = Numbers(config)
    alone = list(run(source))
    assert [loaded.step for loaded in alone] == list(range(14))
    for workers in (1, 4):
        same(list(run(source, workers=workers)), alone)


@pytest.mark.parametrize("processes", [2, 4])
def test_any_number_of_processes_gives_the_same(processes):
    source = Numbers(DAMAGED)
    whole = list(run(source))
    share = 8 // processes
    parts = [list(run(source, start=rank * share, count=share)) for rank in range(processes)]
    for step, loaded in enumerate(whole):
        inputs = torch.cat([part[step].inputs for part in parts])
        torch.testing.assert_close(inputs, loaded.inputs, rtol=0, atol=0)
        bad = tuple(b for part in parts for b in part[step].bad)
        assert bad == loaded.bad


def test_a_resumed_run_goes_on_with_the_same_samples():
    source = Numbers(DAMAGED)
    same(list(run(source, first_step=9, workers=1)), list(run(source))[9:])


def test_randomness_differs_between_passes_and_samples():
    drawn = torch.cat([loaded.inputs for loaded in run(Numbers(Numbers.Config()), last_step=60)])
    assert len(drawn[:, 1].unique()) == len(drawn)
    other = next(run(Numbers(Numbers.Config()), seed=8)).inputs
    assert (other != next(run(Numbers(Numbers.Config()))).inputs).any()


def test_bad_samples_are_replaced_and_named():
    loaded = list(run(Numbers(DAMAGED), last_step=6))
    values = torch.cat([each.inputs for each in loaded])[:, 0].tolist()
    bad = [sample for each in loaded for sample in each.bad]
    assert not {3, 30, 4, 5, 49} & set(values)
    assert {sample.index for sample in bad} <= {3, 30, 4, 5, 49}
    assert len({sample.index for sample in bad}) >= 4
    for sample in bad:
        assert sample.replaced_by in values
        expected = ("sample", "DecodeError: no such") if sample.index in (3, 30) else (
            "number", "OSError: truncated"
        )  # fmt: skip
        assert (sample.name.split()[0], sample.reason[: len(expected[1])]) == expected


@pytest.mark.parametrize("workers", [0, 2])
def test_nothing_but_bad_samples_stops_the_run(workers):
    source = Numbers(Numbers.Config(broken=frozenset(range(50))))
    with pytest.raises(
        DataError, match=r"(?s)^20 samples in a row.*number \d+: OSError: truncated"
    ):
        next(run(source, workers=workers))


def test_inputs_of_two_shapes_are_refused():
    class Ragged(Pairs):
        def train_input(self, content, rng):
            return torch.zeros(1 + int(content[0]) % 2)

    with pytest.raises(JepaError, match="inputs of different kinds"):
        next(run(Numbers(Numbers.Config()), Ragged()))


def test_no_global_randomness_is_used():
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    for workers in (0, 2):
        list(run(Numbers(DAMAGED), workers=workers))
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())


def children() -> set[int]:
    return {process.pid for process in multiprocessing.active_children()}


def test_closing_ends_the_workers():
    before = children()
    iterator = run(Numbers(Numbers.Config()), workers=2, last_step=10**6)
    next(iterator)
    started = children() - before
    assert len(started) == 2
    iterator.close()
    assert not started & children()


def test_workers_leave_signals_to_the_training_process():
    iterator = run(Numbers(Numbers.Config()), workers=2, last_step=30)
    started = [next(iterator), next(iterator)]  # one of each worker
    for pid in children():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            os.kill(pid, number)
    assert [loaded.step for loaded in (*started, *iterator)] == list(range(30))


GONE = """
import os, signal, sys
sys.path.insert(0, {tests!r})
from test_loading import Numbers, children, run

class Broken(Numbers):
    def item(self, index):
        raise EOFError("a stranger's own fault")

kind = sys.argv[1]
batches = run((Broken if kind == "raises" else Numbers)(Numbers.Config()), workers=2, last_step=999)
next(batches)
for pid in children():
    os.kill(pid, signal.SIGKILL)
list(batches)
"""


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("killed", "DataError: a loader process died"),
        ("raises", "EOFError: Caught EOFError in DataLoader worker"),
    ],
)
def test_a_worker_that_is_gone_ends_the_process_and_does_not_hang_it(kind, said):
    """Workers ignore SIGTERM, and the interpreter waits for all that are left at its end."""
    code = GONE.format(tests=str(Path(__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", code, kind], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_leaves_bad_samples_out(workers):
    batches = list(evaluation_batches(Numbers(DAMAGED), Pairs(), 16, workers))
    indices = torch.cat([batch.indices for batch in batches])
    assert indices.tolist() == [i for i in range(50) if i not in (3, 4, 5, 30, 49)]
    assert torch.equal(torch.cat([batch.inputs for batch in batches])[:, 0], indices.float())
    assert torch.equal(torch.cat([batch.labels for batch in batches]), indices % 3)
    assert [b.index for batch in batches for b in batch.bad] == [3, 4, 5, 30, 49]
    assert [len(batch.inputs) for batch in batches] == [13, 15, 16, 1]


def test_evaluation_of_chosen_samples():
    source = Numbers(Numbers.Config(broken=frozenset({0, 1, 8, 9})))
    batches = list(evaluation_batches(source, Pairs(), 2, 0, indices=[0, 1, 7, 2, 8, 9]))
    assert [batch.indices.tolist() for batch in batches] == [[7, 2]]
    assert [bad.index for bad in batches[0].bad] == [0, 1, 8, 9]
    with pytest.raises(DataError, match="none of 2 samples can be decoded; the last, number 9"):
        list(evaluation_batches(source, Pairs(), 2, 0, indices=[8, 9]))


def test_workers_follow_the_cores():
    assert resolve_workers(3) == 3
    assert resolve_workers(0) == 0
    assert 1 <= resolve_workers("auto", 2) <= resolve_workers("auto") <= 8


def test_a_path_is_not_opened_by_the_loader(tmp_path):
    class Files(Numbers):
        def item(self, index: int) -> Item:
            return Item(tmp_path / f"{index}.txt", f"{index}.txt")

    class Texts(Pairs):
        def train_input(self, content: Content, rng: SampleRng) -> Tensor:
            assert isinstance(content, Path)
            return torch.tensor([float(content.read_text()), 0.0])

    for i in range(50):
        if i != 11:
            (tmp_path / f"{i}.txt").write_text(str(i))
    loaded = list(run(Files(Numbers.Config()), Texts(), last_step=12))
    (bad,) = {(sample.index, sample.name, sample.reason[:17]) for b in loaded for sample in b.bad}
    assert bad == (11, "11.txt", "FileNotFoundError")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_pinned_batches_are_the_same():
    pinned = list(run(Numbers(DAMAGED), workers=2, pin_memory=True))
    assert all(loaded.inputs.is_pinned() for loaded in pinned)
    same(pinned, list(run(Numbers(DAMAGED))))
