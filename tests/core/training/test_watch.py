"""What observers say reaches the others: scalars, notes and how the run stands."""

from collections.abc import Sequence
from types import SimpleNamespace

from jepa.core.training.observer import Observer, Record, Remark
from jepa.core.training.watch import Watch


class Scripted(Observer):
    """Says what its config holds by step, and keeps every record."""

    Config = dict

    def __init__(self, config):
        self.script = config
        self.records: list[Record] = []

    def start(self, run):
        pass

    def measure(self, step):
        return self.script.get("metrics", {}).get(step, {})

    def remark(self, step):
        return self.script.get("remarks", {}).get(step)

    def record(self, record):
        self.records.append(record)

    def saved(self, step):
        pass

    def finish(self, outcome):
        pass


def watched(*scripts) -> tuple[Watch, Sequence[Scripted]]:
    parts = [
        SimpleNamespace(name=f"scripted{place}", cls=Scripted, config=script)
        for place, script in enumerate(scripts)
    ]
    run = SimpleNamespace(config=SimpleNamespace(observers=parts), steps_per_epoch=10)
    watch = Watch(run, None)
    return watch, [observer for _, observer in watch._observers]


def test_a_status_holds_until_the_next_and_notes_come_once():
    remarks = {2: Remark("warming up"), 4: Remark("learning", ("it learns",))}
    watch, (_, other) = watched({"remarks": remarks}, {})
    for step in range(1, 7):
        watch.see(step, {"train/loss": 1.0})
    assert [record.status for record in other.records] == [
        *("", "warming up", "warming up", "learning", "learning", "learning"),
    ]
    assert [record.notes for record in other.records] == [(), (), (), ("it learns",), (), ()]


def test_statuses_of_several_observers_stand_side_by_side():
    watch, (first, _) = watched(
        {"remarks": {1: Remark("learning")}}, {"remarks": {2: Remark("disk is slow")}}
    )
    watch.see(1, {"train/loss": 1.0})
    watch.see(2, {"train/loss": 1.0}, ["a step was skipped"])
    assert [record.status for record in first.records] == ["learning", "learning; disk is slow"]
    assert first.records[1].notes == ("a step was skipped",)


def test_a_note_is_told_at_a_step_that_measures_nothing():
    watch, (observer,) = watched({"remarks": {3: Remark("", ("look",))}})
    for step in range(1, 5):
        watch.see(step, {})
    assert [(record.step, record.notes) for record in observer.records] == [(3, ("look",))]


def test_every_observer_sees_what_all_measured():
    watch, observers = watched({"metrics": {1: {"a": 1.0}}}, {"metrics": {1: {"b": 2.0}}})
    watch.see(1, {"train/loss": 0.5})
    for observer in observers:
        assert observer.records[0].metrics == {"train/loss": 0.5, "a": 1.0, "b": 2.0}
