"""Statistics over processes: two that share a batch get the gradients of one that holds it."""

import json
import os
import subprocess
import sys

import pytest
import torch
import two_processes

from jepa.core.collective import alone, mean_over_processes, of_first_process, processes


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What each of two processes found, by rank."""
    store = tmp_path_factory.mktemp("gloo") / "store"
    done = subprocess.run(
        [sys.executable, two_processes.__file__, str(store)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return sorted(found, key=lambda one: one["rank"])


@pytest.fixture(scope="module")
def whole():
    with torch.random.fork_rng():
        return two_processes.gradients(two_processes.network(), two_processes.batch(), 0)


@pytest.mark.parametrize("case", two_processes.CASES)
def test_half_the_batch_on_each_of_two_gives_the_gradient_of_all_on_one(told, whole, case):
    wanted = whole[case]
    assert max(map(abs, wanted)) > 1e-3
    for one in told:
        assert one["gradients"][case] == pytest.approx(wanted, rel=1e-9, abs=1e-12)


def test_the_first_process_is_heard_by_all(told):
    assert [one["first"] for one in told] == [[10.0], [10.0]]


def test_one_process_is_left_as_it_is():
    values = torch.ones(3, requires_grad=True)
    assert mean_over_processes(values) is values
    assert of_first_process(values) is values
    assert processes() == 1


def test_alone_nobody_is_asked(monkeypatch):
    def wait_for_ever(*_, **__):
        raise AssertionError("asked the other processes")

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    for name in ("all_reduce", "broadcast"):
        monkeypatch.setattr(f"torch.distributed.{name}", wait_for_ever)
    values = torch.ones(3)
    with alone():
        assert processes() == 1
        assert mean_over_processes(values) is values
        assert of_first_process(values) is values
    assert processes() == 2
    for ask in (mean_over_processes, of_first_process):
        with pytest.raises(AssertionError, match="asked"):
            ask(values)
