"""What holds for every observer."""

import pytest
import torch

from jepa.core.training.observer import Observer, Record
from jepa.observers.health import Health
from jepa.observers.jsonl import Jsonl
from jepa.observers.progress import Progress
from jepa.observers.tensorboard import TensorBoard

ALL = [Health, Jsonl, Progress, TensorBoard]
each = pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)


@each
def test_a_run_that_fails_before_it_starts_can_be_finished(cls, tmp_path, capsys):
    cls(cls.Config()).finish("failed")
    assert not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


@each
def test_looking_draws_from_no_generator(cls, make_run):
    observer: Observer = cls(cls.Config())
    run = make_run()
    before = torch.get_rng_state()
    observer.start(run)
    for step in (1, 100, 1000):
        observer.record(Record(step, step / 10, {"train/loss": 1.0, **observer.measure(step)}))
    observer.saved(1000)
    observer.finish("completed")
    assert torch.equal(before, torch.get_rng_state())


def test_registered_under_their_names():
    from jepa.core import registry

    names = ("health", "jsonl", "progress", "tensorboard")
    assert [registry.load(registry.find("observer", name)) for name in names] == ALL
