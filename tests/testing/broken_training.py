"""Target updaters, objectives and regularizers that break one promise each."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from jepa.core import Loss, Regularizer, Target, TargetUpdater
from jepa.plugins.objectives.regression import L2
from jepa.plugins.regularizers.vicreg import VicReg
from jepa.plugins.targets.ema import Ema

# --- target updaters -----------------------------------------------------------------------------


class Spoilt(Target):
    """A good target that passes on, to be spoilt."""

    def __init__(self, good):
        super().__init__()
        self.good, self.dim = good, good.dim

    @property
    def backbone(self):
        return self.good.backbone

    def forward(self, inputs, views):
        return self.spoil(self.good(inputs, views))

    def spoil(self, found):
        return found


class Updater(TargetUpdater):
    """Makes `target` and moves it well."""

    Config = Ema.Config
    target = Spoilt

    def __init__(self, config):
        self.good = Ema(config)

    def make_target(self, online):
        return self.target(self.good.make_target(online))

    def update(self, target, online, progress, applied):
        return self.good.update(target, online, progress, applied)


class ListTarget(Spoilt):
    def spoil(self, found):
        return list(found)


class GivesAList(Updater):
    target = ListTarget


class EncoderTarget(Spoilt):
    @property
    def backbone(self):
        return self.good.network.encoder


class ShowsTheEncoder(Updater):
    target = EncoderTarget


class Registering(Updater):
    def make_target(self, online):
        made = super().make_target(online)
        made.online = online
        return made

    def update(self, target, online, progress, applied):
        return self.good.update(target.good, online, progress, applied)


class Eager(Updater):
    def update(self, target, online, progress, applied):
        return super().update(target, online, progress, torch.ones_like(applied))


class Asking(Updater):
    def update(self, target, online, progress, applied):
        return super().update(target, online, progress, applied) if applied > 0 else {}


class Stealing(Updater):
    @torch.no_grad()
    def update(self, target, online, progress, applied):
        for parameter in online.parameters():
            parameter.mul_(0.99)
        return super().update(target, online, progress, applied)


class LogsTensors(Updater):
    def update(self, target, online, progress, applied):
        return {"momentum": torch.ones(())}


class Forgetful(Updater):
    """Moves faster with each call, and keeps the count to itself."""

    calls = 0

    def update(self, target, online, progress, applied):
        self.calls += 1
        return super().update(target, online, 1 - self.calls / 100, applied)


class TrainingTarget(Spoilt):
    def spoil(self, found):
        self.good.network.train()
        return found


class LeavesTraining(Updater):
    def make_target(self, online):
        made = TrainingTarget(self.good.make_target(online))
        made.good.network.eval()
        return made


class CountingTarget(Spoilt):
    calls = 0

    def spoil(self, found):
        self.calls += 1
        return tuple(view + 1e-3 * self.calls for view in found)


class Changing(Updater):
    target = CountingTarget


class CpuTarget(Spoilt):
    def spoil(self, found):
        return tuple(view * float(view.std() > -1) for view in found)


class ReadsTargets(Updater):
    target = CpuTarget


class DividingTarget(Spoilt):
    def spoil(self, found):
        one = torch.ones(1, 1, device=found[0].device)
        difference = torch.mm(one + 2.0**-10, one).float() - 1
        return tuple(view * (2.0**-10 / difference.squeeze()) for view in found)


class Overflowing(Updater):
    target = DividingTarget


class Locked(Updater):
    def __init__(self, config):
        super().__init__(config)
        self.key = lambda: None


class DrawingTarget(Spoilt):
    def spoil(self, found):
        torch.rand(1)
        return found


class Drawing(Updater):
    target = DrawingTarget


TARGET_UPDATERS = {
    GivesAList: "shapes",
    ShowsTheEncoder: "backbone",
    Registering: "holds_nothing_of_the_online_network",
    Eager: "skipped_steps",
    Asking: "waits_for_nothing",
    Stealing: "online_stays",
    LogsTensors: "scalars",
    Forgetful: "resumes",
    LeavesTraining: "modes_stay",
    Changing: "repeats",
    ReadsTargets: "on_meta",
    Overflowing: "bf16",
    Locked: "pickles",
    Drawing: "generators",
}

# --- objectives ----------------------------------------------------------------------------------


class VectorLoss(L2):
    def forward(self, predictions, targets, context):
        return Loss(super().forward(predictions, targets, context).total[None], {})


class FirstView(L2):
    def forward(self, predictions, targets, context):
        return super().forward(predictions[:1], targets[:1], context[:1])


class OverTheBatch(L2):
    """Compares means over samples: whose prediction it is does not matter."""

    def distance(self, predictions, targets):
        return F.mse_loss(predictions.mean(dim=0), targets.mean(dim=0))


class Undeclared(L2):
    """Normalises targets, but does not say so."""

    def forward(self, predictions, targets, context):
        return super().forward(predictions, [self._normalise(t) for t in targets], context)

    def normalise(self, targets):
        return targets


class InPlace(L2):
    def forward(self, predictions, targets, context):
        context[0].add_(1)
        return super().forward(predictions, targets, context)


OBJECTIVES = {
    VectorLoss: "losses",
    FirstView: "differentiable",
    OverTheBatch: "tells_right_from_wrong",
    Undeclared: "normalise",
    InPlace: "inputs_stay",
}

# --- regularizers --------------------------------------------------------------------------------


class NoLoss(VicReg):
    def forward(self, predictions, targets, context):
        return super().forward(predictions, targets, context).total


class Flat(VicReg):
    def forward(self, predictions, targets, context):
        found = super().forward(predictions, targets, context)
        return Loss(found.total * 0, found.parts)


class Roots(Regularizer):
    """The plain standard deviation, whose gradient is infinite at 0."""

    Config = VicReg.Config

    def __init__(self, config, *, dim):
        super().__init__()

    def forward(self, predictions, targets, context):
        spread = context[0].flatten(1).var(dim=0).sqrt()
        return Loss(-spread.mean(), {})


class Ordered(VicReg):
    def forward(self, predictions, targets, context):
        found = super().forward(predictions, targets, context)
        return Loss(found.total + context[0][0].square().mean(), found.parts)


class Claiming(VicReg):
    accumulates = True


REGULARIZERS = {
    NoLoss: "losses",
    Flat: "differentiable",
    Roots: "finite_after_collapse",
    Ordered: "order_of_samples",
    Claiming: "accumulates",
}


class OwnShare(Regularizer):
    """Statistics of this process's share of the batch."""

    Config = VicReg.Config

    def __init__(self, config, *, dim):
        super().__init__()

    def forward(self, predictions, targets, context):
        return Loss(-torch.log(context[0].var(dim=0) + 1e-3).mean(), {})
