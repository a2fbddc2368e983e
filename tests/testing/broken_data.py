"""Modalities, sources, protocols and observers that break one promise each."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import attrs
import numpy as np
import torch
from torch import nn

from jepa.core import DataError, Measured, Predictions, Protocol, Source, Stretch
from jepa.evaluation.knn import Knn
from jepa.observers.jsonl import Jsonl
from jepa.testing.toys import NoConfig, ToyModality, ToySource, toy_inputs

CONTENTS = [content.numpy() for content in toy_inputs(3, 5)[0]]

# --- modalities ----------------------------------------------------------------------------------


class Signals(ToyModality):
    """A good one, to be spoilt."""

    @classmethod
    def defaults(cls):
        vit = {"name": "vit", "depth": 1, "heads": 2}
        return {
            "data": {"source": "folder"},
            "model": {
                "dim": 16,
                "tokenizer": {"name": "patch", "size": [2]},
                "encoder": vit,
                "predictor": {**vit, "dim": 16},
                "target": "ema",
                "objective": "l2",
            },
            "masks": ["random"],
        }


class LongerToTrain(Signals):
    def train_input(self, content, rng):
        return super().train_input(content, rng).repeat(1, 2)


class OwnDice(Signals):
    calls = 0

    def train_input(self, content, rng):
        self.calls += 1
        return self.eval_input(content) * self.calls


class Fading(Signals):
    calls = 0

    def eval_input(self, content):
        self.calls += 1
        return super().eval_input(content) * self.calls

    def train_input(self, content, rng):
        return super().eval_input(content)


class Doubles(nn.Module):
    def forward(self, inputs):
        return inputs.double()


class GivesDoubles(Signals):
    def device_transform(self):
        return Doubles()


class Kept(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(1))

    def forward(self, inputs):
        return inputs * self.scale


class KeepsState(Signals):
    def device_transform(self):
        return Kept()


class Centred(nn.Module):
    def forward(self, inputs):
        return inputs - inputs.mean(dim=0)


class OverBatch(Signals):
    def device_transform(self):
        return Centred()


class FloatPictures(Signals):
    def preview(self, inputs):
        return super().preview(inputs).float()


class SameFeatures(Signals):
    def baseline(self, inputs):
        return super().baseline(inputs) * 0


class KeyErrors(Signals):
    def eval_input(self, content):
        if not isinstance(content, np.ndarray):
            raise KeyError(content)
        return super().eval_input(content)


class Shouting(Signals):
    extensions = frozenset({".NPY"})


class NoSuchPart(Signals):
    @classmethod
    def defaults(cls):
        return {**super().defaults(), "masks": ["no_such_sampler"]}


class HalfMeasured(Signals):
    @attrs.frozen(kw_only=True)
    class Config:
        mean: float | None = None
        std: float | None = None

    measures = ("mean", "std")

    @classmethod
    def fit(cls, config, source):
        return attrs.evolve(config, mean=0.0)


class MeasuresTensors(HalfMeasured):
    @classmethod
    def fit(cls, config, source):
        return attrs.evolve(config, mean=torch.zeros(()), std=torch.ones(()))


class OpenFile(Signals):
    def __init__(self, config):
        super().__init__(config)
        self.file = (i for i in range(3))


class GlobalDice(Signals):
    def train_input(self, content, rng):
        random.random()
        return super().train_input(content, rng)


class Parts(Signals):
    """A good one that takes stretches, to be spoilt."""

    takes_stretches = True

    def eval_input(self, content):
        if not isinstance(content, Stretch):
            return super().eval_input(content)
        found = super().eval_input(content.content)
        return found[:, self.places(content)]

    def places(self, content):
        span = content.span(16)
        return [span[place * len(span) // 16] for place in range(16)]


class LosesTheLast(Parts):
    def places(self, content):
        return [min(place, 14) for place in super().places(content)]


class OneWay(Parts):
    def places(self, content):
        return sorted(super().places(content))


MODALITIES = {
    LongerToTrain: "inputs",
    OwnDice: "training_repeats",
    Fading: "evaluation_repeats",
    GivesDoubles: "device_transform",
    KeepsState: "nothing_to_train",
    OverBatch: "samples_apart",
    FloatPictures: "previews",
    SameFeatures: "baselines",
    KeyErrors: "junk",
    Shouting: "extensions",
    NoSuchPart: "defaults",
    HalfMeasured: "fitting",
    MeasuresTensors: "fitting",
    LosesTheLast: "whole_stretches",
    OneWay: "parts_of_samples",
    OpenFile: "pickles",
    GlobalDice: "generators",
}

# --- sources -------------------------------------------------------------------------------------


class NumberedNames(ToySource):
    def item(self, index):
        return attrs.evolve(super().item(index), name=index)


class OtherLabels(ToySource):
    def labels(self):
        return 1 - super().labels()


class StepByStep(ToySource):
    """An item depends on whether a smaller index was asked for last."""

    last = -1

    def item(self, index):
        down, self.last = index < self.last, index
        return attrs.evolve(super().item(index), name=f"{index} {down}")

    def __setstate__(self, state):
        self.__dict__.update(state, last=-1)


class CountsReads(ToySource):
    reads = 0

    def item(self, index):
        self.reads += 1
        return super().item(index)

    def fingerprint(self):
        return f"{self.reads > 0}"


class Heavy(ToySource):
    def __init__(self, config, place):
        super().__init__(config, place)
        self.ballast = bytes(2**21)


class Rootless(ToySource):
    takes_root = True


class Lengths(Measured, Source):
    """A good one, but for its quantities."""

    Config = NoConfig
    takes_root = False
    quantities = ("length",)

    def __init__(self, config, place):
        self.good = ToySource(config, place)

    def __len__(self):
        return len(self.good)

    def item(self, index):
        return self.good.item(index)

    @property
    def classes(self):
        return self.good.classes

    def labels(self):
        return self.good.labels()

    def fingerprint(self):
        return "lengths"

    def quantity(self, name):
        if name != "length":
            raise DataError(name)
        return np.ones(len(self), dtype=np.int32)


class MixedWholes(ToySource):
    def wholes(self):
        return np.zeros(len(self), dtype=np.int64)


class PairsOfTwoOrigins(ToySource):
    """Parts of one film, which are said to be of different origin."""

    def wholes(self):
        labels = super().labels()
        rank = np.cumsum(np.eye(2, dtype=np.int64)[labels], axis=0)[np.arange(len(labels)), labels]
        return 2 * (rank // 2) + labels

    def groups(self):
        return np.arange(len(self))


class NamedGroups(ToySource):
    def groups(self):
        return np.array(["Ann"] * len(self))


class Seeded(ToySource):
    def item(self, index):
        np.random.seed(index)
        return super().item(index)


class SaysNothing(ToySource):
    def item(self, index):
        item = super().item(index)
        return attrs.evolve(item, content=Stretch(item.content, 0.0, 0.5))


SOURCES = {
    NumberedNames: "items",
    SaysNothing: "items",
    OtherLabels: "labels",
    StepByStep: "repeats",
    CountsReads: "fingerprint",
    Heavy: "pickles",
    Rootless: "missing_places",
    Lengths: "quantities",
    MixedWholes: "together",
    NamedGroups: "together",
    PairsOfTwoOrigins: "together",
    Seeded: "generators",
}

# --- protocols -----------------------------------------------------------------------------------


class Judge(Protocol):
    """A good one, to be spoilt."""

    Config = Knn.Config

    def __init__(self, config):
        self.good = Knn(config)

    def predict(self, train, test, seed):
        return self.good.predict(train, test, seed)


class FlatClasses(Judge):
    def predict(self, train, test, seed):
        return Predictions(values=super().predict(train, test, seed).values[0])


class Peeking(Judge):
    def predict(self, train, test, seed):
        try:
            return Predictions(values=test.labels[None])
        except DataError:
            return super().predict(train, test, seed)


class CountsOnWholes(Judge):
    def predict(self, train, test, seed):
        with contextlib.suppress(DataError):
            test.wholes.unique()
        return super().predict(train, test, seed)


class Guessing(Judge):
    def predict(self, train, test, seed):
        return Predictions(values=torch.zeros(1, len(test), dtype=torch.int64))


class Moody(Judge):
    calls = 0

    def predict(self, train, test, seed):
        self.calls += 1
        found = super().predict(train, test, seed).values.clone()
        found[0, self.calls % 7] = self.calls % 2
        return Predictions(values=found)

    def __reduce__(self):
        return type(self), (self.good.config,)


class Centring(Judge):
    def predict(self, train, test, seed):
        train.inputs.sub_(1e-3)
        return super().predict(train, test, seed)


class Locked(Judge):
    def __init__(self, config):
        super().__init__(config)
        self.key = lambda: None


class Dicing(Judge):
    def predict(self, train, test, seed):
        torch.manual_seed(seed)
        return super().predict(train, test, seed)


PROTOCOLS = {
    FlatClasses: "predictions",
    Peeking: "blind",
    CountsOnWholes: "blind",
    Guessing: "learns",
    Moody: "repeats",
    Centring: "samples_stay",
    Locked: "pickles",
    Dicing: "generators",
}

# --- observers -----------------------------------------------------------------------------------


class Stumbling(Jsonl):
    def saved(self, step):
        raise RuntimeError("no room")


class Whole(Jsonl):
    def measure(self, step):
        return {"size": 1}


class Watcher(Jsonl):
    def start(self, run):
        super().start(run)
        self.run = run


class Pushing(Watcher):
    def measure(self, step):
        with torch.no_grad():
            next(self.run.model.parameters()).mul_(1.001)
        return {}


class LeavesGradients(Watcher):
    def measure(self, step):
        batch = self.run.fixed_batch()
        self.run.model(*batch).total.backward()
        return {}


class Sleeping(Watcher):
    def measure(self, step):
        self.run.model.eval()
        return {}


class OnlyOnce(Jsonl):
    def start(self, run):
        (Path(run.output) / "mine").mkdir()
        super().start(run)


class Impatient(Jsonl):
    def finish(self, outcome):
        self._opened()
        super().finish(outcome)


class Shuffling(Watcher):
    def measure(self, step):
        torch.randperm(3)
        return {}


OBSERVERS = {
    Stumbling: "lives_a_run",
    Whole: "speaks",
    Pushing: "weights_stay",
    LeavesGradients: "weights_stay",
    Sleeping: "modes_stay",
    OnlyOnce: "resumes",
    Impatient: "finishes_unstarted",
    Shuffling: "generators",
}
