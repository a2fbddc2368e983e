"""Checks of modalities, on raw samples that the caller gives."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import attrs
import torch
from torch import Tensor

from jepa.core.config import RunConfig
from jepa.core.errors import DecodeError
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Modality, part_of
from jepa.core.overrides import apply_overrides
from jepa.core.parts import Part
from jepa.core.registry import Plugin
from jepa.core.rng import SampleRng
from jepa.core.settings import structure, unstructure
from jepa.core.training.cost import count
from jepa.testing.generators import untouched
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.toys import Given

_MODALITY = "jepa.core.Modality"
_INPUTS = f"{_MODALITY}.train_input, {_MODALITY}.eval_input"


def _made(subject: Subject) -> Modality:
    expect(len(subject.setup.contents) > 1, "no samples: give `contents`, two or more")
    made: Modality = subject.cls(subject.config)
    return made


def _inputs(subject: Subject) -> Iterator[tuple[str, Tensor]]:
    """Every content under both transforms, with words for it."""
    modality = _made(subject)
    for place, content in enumerate(subject.setup.contents):
        yield f"eval_input of content {place}", modality.eval_input(content)
        for epoch in range(2):
            name = f"train_input of content {place}, epoch {epoch}"
            yield name, modality.train_input(content, SampleRng(0, epoch, place))


def _batch(subject: Subject) -> Tensor:
    """Inputs [B, *S] as the loader gives them."""
    modality = _made(subject)
    return torch.stack([modality.eval_input(content) for content in subject.setup.contents])


@promise(_INPUTS, basic=True)
def inputs(subject: Subject) -> None:
    """Both transforms give CPU tensors of the shape `spec.loaded` and of one dtype."""
    loaded = list(_made(subject).spec.loaded)
    types: set[torch.dtype] = set()
    for name, found in _inputs(subject):
        expect(isinstance(found, Tensor), f"{name}: a {type(found).__name__}")
        expect(found.device.type == "cpu", f"{name}: on {found.device}")
        expect(list(found.shape) == loaded, f"{name}: {list(found.shape)} for {loaded}")
        types.add(found.dtype)
        expect(len(types) == 1, f"{name}: {found.dtype}, and others are not")


@promise(f"{_MODALITY}.train_input")
def training_repeats(subject: Subject) -> None:
    """A training input is a function of (seed, epoch, index): all randomness comes from `rng`."""
    modality = _made(subject)
    for place, content in enumerate(subject.setup.contents):
        found = [modality.train_input(content, SampleRng(3, 1, place)) for _ in range(2)]
        expect(torch.equal(*found), f"content {place} at one place gives two inputs")


@promise(f"{_MODALITY}.eval_input")
def evaluation_repeats(subject: Subject) -> None:
    """An evaluation input is the same each time."""
    modality = _made(subject)
    for place, content in enumerate(subject.setup.contents):
        found = [modality.eval_input(content) for _ in range(2)]
        expect(torch.equal(*found), f"content {place} gives two inputs")


@promise(f"{_MODALITY}.spec, {_MODALITY}.device_transform")
def device_transform(subject: Subject) -> None:
    """Inputs [B, *S] become finite float32 [B, *spec.shape]; axes after channels have names."""
    modality, batch = _made(subject), _batch(subject)
    spec = modality.spec
    expect(isinstance(spec, InputSpec), f"spec is a {type(spec).__name__}")
    named = len(spec.shape) - 1 == len(set(spec.axes)) == len(spec.axes)
    expect(named, f"shape {list(spec.shape)}, axes {spec.axes}")
    found = modality.device_transform()(batch)
    wanted = [len(batch), *spec.shape]
    expect(list(found.shape) == wanted, f"{list(found.shape)} for {wanted}")
    expect(found.dtype == torch.float32, f"{found.dtype}")
    expect(bool(found.isfinite().all()), "values that are not finite")


@promise(f"{_MODALITY}.device_transform")
def nothing_to_train(subject: Subject) -> None:
    """The device transform has no parameters, and nothing that a checkpoint would hold."""
    module = _made(subject).device_transform()
    names = [name for name, _ in module.named_parameters()]
    expect(not names, f"parameters {', '.join(names)}")
    expect(not module.state_dict(), f"state {', '.join(module.state_dict())}")


@promise(f"{_MODALITY}.device_transform")
def samples_apart(subject: Subject) -> None:
    """What the device transform makes of a sample depends on that sample alone."""
    modality, batch = _made(subject), _batch(subject)
    transform = modality.device_transform()
    close = torch.allclose(transform(batch)[1:2], transform(batch[1:2]), rtol=1e-4, atol=1e-5)
    expect(close, "another batch around a sample changes it")


@promise(f"{_MODALITY}.preview")
def previews(subject: Subject) -> None:
    """Pictures of inputs: uint8 [B, H, W, 3]."""
    batch = _batch(subject)
    found = _made(subject).preview(batch)
    shape = list(found.shape)
    expect(len(shape) == 4 and [shape[0], shape[3]] == [len(batch), 3], f"{shape}")
    expect(found.dtype == torch.uint8, f"{found.dtype}")


@promise(f"{_MODALITY}.baseline")
def baselines(subject: Subject) -> None:
    """Raw features [B, P], floating and finite, that tell samples apart."""
    batch = _batch(subject)
    found = _made(subject).baseline(batch)
    shape = list(found.shape)
    expect(len(shape) == 2 and shape[0] == len(batch), f"{shape} for [{len(batch)}, P]")
    expect(found.is_floating_point(), f"{found.dtype}")
    expect(bool(found.isfinite().all()), "values that are not finite")
    expect(bool((found != found[:1]).any()), "all contents have the same features")


@promise(_INPUTS)
def junk(subject: Subject) -> None:
    """What is no sample is refused by DecodeError, so that the loader can replace and count it."""
    modality = _made(subject)
    for content in subject.setup.junk:
        for training in (False, True):
            try:
                if training:
                    modality.train_input(content, SampleRng(0, 0, 0))
                else:
                    modality.eval_input(content)
            except DecodeError:
                continue
            name = "train_input" if training else "eval_input"
            expect(False, f"{name} made an input of {content!r:.60}")


@promise(f"{_MODALITY}.extensions")
def extensions(subject: Subject) -> None:
    """Endings of files, lower case with the dot, in a frozenset."""
    found = subject.cls.extensions
    expect(isinstance(found, frozenset) and bool(found), f"{found!r}")
    odd = [e for e in found if not (e.startswith(".") and e == e.lower())]
    expect(not odd, f"{', '.join(odd)}")


@promise(f"{_MODALITY}.defaults")
def defaults(subject: Subject) -> None:
    """With few overrides the defaults are a config that can be built and run."""
    count(_config(subject))


def _config(subject: Subject) -> RunConfig:
    """The config that `jepa train` would make of the defaults and the overrides."""
    raw = apply_overrides(subject.cls.defaults(), ["train.global_batch=4", "train.max_steps=1"])
    raw = apply_overrides(raw, subject.setup.overrides)
    fields = attrs.fields_dict(attrs.resolve_types(RunConfig))
    unknown = [key for key in raw if key not in fields]
    expect(not unknown, f"unknown keys {', '.join(unknown)}")
    target = f"{subject.cls.__module__}:{subject.cls.__qualname__}"
    plugin = Plugin("modality", "tested", target, subject.cls.__module__, "")
    made: dict[str, Any] = {
        name: structure(value, fields[name].type, name)  # type: ignore[arg-type]
        for name, value in raw.items()
        if name != "modality"
    }
    return RunConfig(modality=Part("modality", "tested", subject.config, plugin), **made)


@promise(f"{_MODALITY}.measures, {_MODALITY}.fit")
def fitting(subject: Subject) -> None:
    """`fit` measures all that `measures` names, or nothing: settings; the same; `spec` stays."""
    modality, cls = _made(subject), subject.cls
    unknown = [name for name in cls.measures if name not in attrs.fields_dict(cls.Config)]
    expect(not unknown, f"Config has no {', '.join(unknown)}")
    source = Given(subject.setup.contents)
    found = [cls.fit(subject.config, source) for _ in range(2)]
    expect(found[0] == found[1], f"{found[0]}, then {found[1]}")
    left = [name for name in cls.measures if getattr(found[0], name) is None]
    # Settings may need no numbers, such as where each sample is brought to its own mean.
    done = not left or found[0] == subject.config
    expect(done, f"not measured: {', '.join(left)}")
    structure(unstructure(found[0]), cls.Config, "what is measured")
    spec = cls(found[0]).spec
    expect(spec == modality.spec, f"spec becomes {spec}, and was {modality.spec}")


@promise(f"{_MODALITY}.takes_stretches")
def whole_stretches(subject: Subject) -> None:
    """The whole of a sample as a stretch gives the same inputs as the sample."""
    modality = _made(subject)
    if not modality.takes_stretches:
        return
    for place, content in enumerate(subject.setup.contents):
        alike = part_of(content, 0.0, 1.0)
        inputs = [modality.eval_input(each) for each in (content, alike)]
        expect(torch.equal(*inputs), f"content {place}: eval_input differs")
        inputs = [modality.train_input(c, SampleRng(0, 0, place)) for c in (content, alike)]
        expect(torch.equal(*inputs), f"content {place}: train_input differs")


@promise(f"{_MODALITY}.takes_stretches")
def parts_of_samples(subject: Subject) -> None:
    """Parts, read either way, give inputs as samples do; which part, and which way, shows."""
    modality = _made(subject)
    if not modality.takes_stretches:
        return
    for begin, end in ((0.0, 0.5), (1.0, 0.5), (1.0, 0.0)):
        name, differ, refused = f"parts from {begin:g} to {end:g}", False, 0
        for content in subject.setup.contents:
            try:
                found = modality.eval_input(part_of(content, begin, end))
                modality.train_input(part_of(content, begin, end), SampleRng(0, 0, 0))
            except DecodeError:  # a part may hold nothing, such as silence
                refused += 1
                continue
            loaded = list(modality.spec.loaded)
            expect(list(found.shape) == loaded, f"{name}: {list(found.shape)} for {loaded}")
            differ |= not torch.equal(found, modality.eval_input(content))
        expect(refused < len(subject.setup.contents), f"{name} of all contents are refused")
        expect(differ, f"{name} give the same inputs as whole samples")


@promise("docs/plugins.md")
def pickles(subject: Subject) -> None:
    """A modality travels to worker processes, and decodes the same there."""
    modality = _made(subject)
    copied = pickle.loads(pickle.dumps(modality))
    for place, content in enumerate(subject.setup.contents):
        rngs = [SampleRng(0, 0, place) for _ in range(2)]
        here, there = (
            m.train_input(content, r) for m, r in zip((modality, copied), rngs, strict=True)
        )
        expect(torch.equal(here, there), f"the copy decodes content {place} otherwise")


@promise(_INPUTS)
def generators(subject: Subject) -> None:
    """No global generator is used, in decoding or on the device."""
    modality = _made(subject)

    def live() -> None:
        batch = torch.stack([found for _, found in _inputs(subject)])
        modality.device_transform()(batch)
        modality.baseline(batch)

    untouched(live)


PROMISES: tuple[Promise, ...] = (
    inputs,
    training_repeats,
    evaluation_repeats,
    device_transform,
    nothing_to_train,
    samples_apart,
    previews,
    baselines,
    junk,
    extensions,
    defaults,
    fitting,
    whole_stretches,
    parts_of_samples,
    pickles,
    generators,
)
