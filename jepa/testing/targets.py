"""Checks of target updaters, on a small backbone over arrays."""

from __future__ import annotations

import copy
import math
import pickle

import torch
from torch import Tensor, nn

from jepa.core.build import make_backbone, make_modality, make_samplers, seeded
from jepa.core.interfaces import Target, TargetUpdater
from jepa.core.model import Backbone
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.testing.generators import untouched
from jepa.testing.modules import same
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.setup import normals
from jepa.testing.toys import SHAPE, toy_config

_UPDATE, _TARGET = "jepa.core.TargetUpdater.update", "jepa.core.Target"
_BATCH = 4


def _made(subject: Subject) -> TargetUpdater:
    made: TargetUpdater = subject.cls(subject.config)
    return made


def _online() -> Backbone:
    config = toy_config()
    return make_backbone(config, make_modality(config)).train()


def _step() -> tuple[Tensor, tuple[Masks, ...]]:
    """Prepared inputs [B, 2, 16] and the masks of two views."""
    config = toy_config()
    (sampler,) = make_samplers(config, _online().tokenizer.grid)
    views = tuple(sampler.sample(_BATCH, Rng(0, 0, _BATCH, view=view)) for view in range(2))
    return normals(_BATCH, *SHAPE), views


def _train(online: nn.Module, seed: int) -> None:
    """Move the online weights as an optimizer would."""
    with torch.no_grad():
        for place, parameter in enumerate(online.parameters()):
            parameter.add_(normals(*parameter.shape, seed=100 * seed + place), alpha=0.1)


def _states(*modules: nn.Module) -> list[dict[str, Tensor]]:
    return [copy.deepcopy(module.state_dict()) for module in modules]


def _live(updater: TargetUpdater, target: Target, online: Backbone, steps: range) -> None:
    """Some steps of training."""
    for step in steps:
        _train(online, step)
        updater.update(target, online, step / 8, torch.ones(()))


def _changed(before: dict[str, Tensor], module: nn.Module) -> list[str]:
    now = module.state_dict()
    return [name for name, value in before.items() if not torch.equal(value, now[name])]


@promise(f"{_TARGET}.forward", basic=True)
def shapes(subject: Subject) -> None:
    """Prepared inputs [B, *S] and views give targets [B, M, T, dim] of each view, finite."""
    target = _made(subject).make_target(_online())
    expect(isinstance(target, Target), f"make_target gave a {type(target).__name__}")
    expect(type(target.dim) is int and target.dim > 0, f"dim is {target.dim!r}")
    inputs, views = _step()
    found = target(inputs, views)
    expect(isinstance(found, tuple), f"a {type(found).__name__}")
    wanted = [[*masks.targets.shape, target.dim] for masks in views]
    shaped = [list(view.shape) for view in found]
    expect(shaped == wanted, f"{shaped} for {wanted}")
    expect(all(bool(view.isfinite().all()) for view in found), "targets are not finite")


@promise(f"{_TARGET}.backbone")
def backbone(subject: Subject) -> None:
    """`backbone` is a Backbone, which users evaluate, or None: the online one."""
    found = _made(subject).make_target(_online()).backbone
    expect(found is None or isinstance(found, Backbone), f"a {type(found).__name__}")


@promise("jepa.core.TargetUpdater.make_target")
def holds_nothing_of_the_online_network(subject: Subject) -> None:
    """A target that reads the online network does not register it: state stands once."""
    online = _online()
    target = _made(subject).make_target(online)
    ours = {id(parameter) for parameter in online.parameters()}
    twice = [name for name, p in target.named_parameters() if id(p) in ours]
    expect(not twice, f"{', '.join(twice[:4])} of the target are parameters of the online network")


@promise(_UPDATE)
def skipped_steps(subject: Subject) -> None:
    """Where `applied` is 0, the target stays as it is."""
    updater, online = _made(subject), _online()
    target = updater.make_target(online)
    _train(online, 1)
    (before,) = _states(target)
    updater.update(target, online, 0.5, torch.zeros(()))
    changed = _changed(before, target)
    expect(not changed, f"{', '.join(changed[:4])} moved")


@promise(_UPDATE)
def waits_for_nothing(subject: Subject) -> None:
    """`update` does not read `applied`, which would wait for the device: it multiplies by it."""
    with torch.device("meta"):
        updater, online = _made(subject), _online()
        target = updater.make_target(online)
        # A tensor without data: whoever reads it fails.
        updater.update(target, online, 0.5, torch.zeros(()))


@promise(_UPDATE)
def online_stays(subject: Subject) -> None:
    """`update` changes the target alone, not the online network."""
    updater, online = _made(subject), _online()
    target = updater.make_target(online)
    _train(online, 1)
    (before,) = _states(online)
    updater.update(target, online, 0.5, torch.ones(()))
    changed = _changed(before, online)
    expect(not changed, f"{', '.join(changed[:4])} moved")


@promise(_UPDATE)
def scalars(subject: Subject) -> None:
    """`update` gives named numbers for the log."""
    updater, online = _made(subject), _online()
    found = updater.update(updater.make_target(online), online, 0.5, torch.ones(()))
    for name, value in found.items():
        number = type(value) is float and math.isfinite(value)
        expect(type(name) is str and number, f"{name!r}: {value!r}")


@promise("jepa.core.TargetUpdater: stateless")
def resumes(subject: Subject) -> None:
    """The target's state is all there is: from a saved one, another updater goes on alike."""
    online, first = _online(), _made(subject)
    target = first.make_target(online)
    _live(first, target, online, range(2))
    again, second = copy.deepcopy(online), _made(subject)
    resumed = second.make_target(again)
    resumed.load_state_dict(target.state_dict())
    _live(first, target, online, range(2, 5))
    _live(second, resumed, again, range(2, 5))
    changed = _changed(target.state_dict(), resumed)
    expect(not changed, f"{', '.join(changed[:4])} differ after three more steps")


@promise(f"{_TARGET}.forward")
def modes_stay(subject: Subject) -> None:
    """The call leaves every module in its training or evaluation mode."""
    online = _online()
    target = _made(subject).make_target(online)
    modes = [module.training for module in (*online.modules(), *target.modules())]
    target(*_step())
    found = [module.training for module in (*online.modules(), *target.modules())]
    expect(found == modes, "modes of modules changed")


@promise(f"{_TARGET}.forward")
def repeats(subject: Subject) -> None:
    """The same inputs and masks give the same targets."""
    target = _made(subject).make_target(_online())
    found = []
    for _ in range(2):
        with seeded(2):
            found.append(target(*_step()))
    expect(same(found[0], found[1], tolerance=0.0), "two calls differ")


@promise(f"{_TARGET}.forward")
def on_meta(subject: Subject) -> None:
    """The target is built and called on the meta device, where models are counted."""
    inputs, views = _step()
    with torch.device("meta"):
        target = _made(subject).make_target(_online())
        found = target(inputs.to("meta"), [Masks(*(m.to("meta") for m in v)) for v in views])
    shaped = [list(view.shape) for view in found]
    wanted = [[*masks.targets.shape, target.dim] for masks in views]
    expect(shaped == wanted, f"{shaped} for {wanted}")


@promise(f"{_TARGET}.forward")
def bf16(subject: Subject) -> None:
    """Under autocast to bfloat16, targets are finite."""
    target = _made(subject).make_target(_online())
    with torch.autocast("cpu", torch.bfloat16):
        found = target(*_step())
    expect(all(bool(view.isfinite().all()) for view in found), "targets are not finite")


@promise("jepa.core.TargetUpdater")
def pickles(subject: Subject) -> None:
    """An updater pickles, and moves the target alike after."""
    updater = _made(subject)
    targets = []
    for each in (updater, pickle.loads(pickle.dumps(updater))):
        online = _online()
        targets.append(each.make_target(online))
        _live(each, targets[-1], online, range(2))
    changed = _changed(targets[0].state_dict(), targets[1])
    expect(not changed, f"{', '.join(changed[:4])} differ")


@promise("jepa.core.TargetUpdater")
def generators(subject: Subject) -> None:
    """No global generator is used."""
    updater, online = _made(subject), _online()

    def live() -> None:
        target = updater.make_target(online)
        updater.update(target, online, 0.5, torch.ones(()))
        target.eval()(*_step())

    untouched(live)


PROMISES: tuple[Promise, ...] = (
    shapes,
    backbone,
    holds_nothing_of_the_online_network,
    skipped_steps,
    waits_for_nothing,
    online_stays,
    scalars,
    resumes,
    modes_stay,
    repeats,
    on_meta,
    bf16,
    pickles,
    generators,
)
