"""The attentive probe of V-JEPA: a frozen encoder's tokens, gathered by attention, then linear."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, final

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jepa.core.build import seeded
from jepa.core.errors import ConfigError, DataError, Fault
from jepa.core.probing import Predictions, Protocol, Samples
from jepa.core.rng import SampleRng, Stream
from jepa.core.settings import check, fraction, non_negative, positive, positive_all
from jepa.evaluation.attention import AttentiveProbe
from jepa.evaluation.logistic import hold_out

_LEAST_WIDTH = 128  # a narrower block learns badly, and plain tokens are narrow
_LEAST_BATCH, _GREATEST_BATCH = 32, 256
_STEPS = 500  # of an epoch, between those batches
_ORDER = 1  # SampleRng's index of the order, apart from that of which samples are held out
_READ = 64  # samples read at once where nothing is trained


@attrs.frozen(kw_only=True)
class AttentiveConfig:
    """The block, and how it is trained."""

    heads: int = attrs.field(default=16, validator=positive)
    """Heads of the attention: so many weighted means over the tokens are gathered."""
    width: int | None = attrs.field(default=None, validator=positive)
    """Width of the block; null: that of the tokens, at least 128, rounded up to a multiple of the
    heads."""
    mlp_ratio: float = attrs.field(default=4.0, validator=positive)
    """Width of the MLP over that of the block."""
    epochs: int = attrs.field(default=20, validator=positive)
    batch: int | None = attrs.field(default=None, validator=positive)
    """Samples of a step, or a few less, so that all steps are nearly equal; null: 32, and on many
    samples more, up to 256, so that an epoch has some 500 steps."""
    lrs: tuple[float, ...] = attrs.field(default=(1e-2, 3e-3, 1e-3, 3e-4), validator=positive_all)
    """Learning rates to choose from. They rise from 0 and fall to 0 along a cosine."""
    warmup: float = attrs.field(default=0.1, validator=fraction)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = attrs.field(default=0.01, validator=non_negative)
    """Of AdamW; biases, norms and the query are not decayed."""
    held_out: int = attrs.field(default=5, validator=check("2 or more", lambda v: v >= 2))
    """One in this many training samples is held out to choose the learning rate on."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto: on a GPU where there is one."""


class Scaling(NamedTuple):
    """Mean and deviation [P] float32 of the features of tokens."""

    mean: Tensor
    deviation: Tensor


@final
class Attentive(Protocol):
    """One cross-attention block with a learned query, then linear (arXiv 2404.08471).

    Features are standardised by their mean and deviation over all training tokens. One probe for
    each learning rate is trained, all in one pass, on the training samples that are not held out.
    The rate with the lowest cross-entropy on those that are is used to train on all of them.
    """

    Config = AttentiveConfig

    def __init__(self, config: AttentiveConfig) -> None:
        self.config = config
        if config.width is not None and config.width % config.heads:
            fault = f"found {config.width}, allowed: a multiple of the {config.heads} heads"
            raise ConfigError(Fault("width", fault))

    def predict(self, train: Samples, test: Samples, seed: int) -> Predictions:
        """Classes [1, m] (see `Protocol.predict`).

        Raises:
            DataError: the fit diverged.
        """
        device = device_of(self.config.device)
        known, labels = train.tokens(), train.labels
        everyone = torch.arange(len(labels))
        lr = self._choose(known, labels, train.groups, seed, device)
        (probe,), scaling = self._fit(known, labels, everyone, [lr], seed, device)
        asked = test.tokens()
        found = logits(probe, asked, torch.arange(len(asked)), scaling, device)
        if not found.isfinite().all():
            raise DataError(f"the attentive probe diverged, at the learning rate {lr:g}")
        return Predictions(values=test.decide(found.softmax(1))[None], details={"lr": lr})

    def _choose(
        self, tokens: Tensor, labels: Tensor, groups: Tensor, seed: int, device: torch.device
    ) -> float:
        """The learning rate with the lowest cross-entropy on held-out training samples."""
        lrs = self.config.lrs
        held = hold_out(labels, self.config.held_out, seed, groups)
        if len(lrs) == 1 or not held.any() or held.all():
            return lrs[0]
        used, rest = (part.nonzero().flatten() for part in (~held, held))
        probes, scaling = self._fit(tokens, labels, used, lrs, seed, device)
        losses = []
        for probe in probes:
            found = logits(probe, tokens, rest, scaling, device)
            loss = F.cross_entropy(found, labels[rest]).item()
            losses.append(loss if math.isfinite(loss) else math.inf)
        return lrs[losses.index(min(losses))]

    def _fit(
        self,
        tokens: Tensor,
        labels: Tensor,
        used: Tensor,
        lrs: Sequence[float],
        seed: int,
        device: torch.device,
    ) -> tuple[list[AttentiveProbe], Scaling]:
        """A probe for each learning rate, trained on the samples at `used` [k]."""
        config = self.config
        scaling = standardisation(tokens, used)
        classes = int(labels.max()) + 1
        probes = [self._probe(tokens.shape[2], classes, seed).to(device) for _ in lrs]
        optimizer = _adamw(probes, config.weight_decay)
        batch = config.batch or max(_LEAST_BATCH, min(_GREATEST_BATCH, len(used) // _STEPS))
        steps = math.ceil(len(used) / batch)
        for step, places in enumerate(_batches(len(used), steps, config.epochs, seed)):
            rows = used[torch.from_numpy(places)]
            inputs, truth = _read(tokens, rows, scaling, device), labels[rows].to(device)
            factor = rate(step, steps * config.epochs, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lrs[group["probe"]] * factor
            optimizer.zero_grad()
            # The probes share no weight, so the gradient of the sum is that of each loss.
            loss = torch.stack([F.cross_entropy(probe(inputs), truth) for probe in probes]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return probes, scaling

    def _probe(self, features: int, classes: int, seed: int) -> AttentiveProbe:
        heads = self.config.heads
        dim = self.config.width or math.ceil(max(features, _LEAST_WIDTH) / heads) * heads
        hidden = max(1, round(self.config.mlp_ratio * dim))
        with seeded(seed):
            return AttentiveProbe(
                features=features, dim=dim, heads=heads, hidden=hidden, classes=classes
            )


def device_of(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device that a setting means.

    Raises:
        ConfigError: a GPU is asked for, and there is none.
    """
    usable = torch.cuda.is_available()
    if wanted == "cuda" and not usable:
        raise ConfigError(
            Fault("device", "found cuda, but PyTorch sees no CUDA device; allowed: auto, cpu")
        )
    return torch.device("cuda" if usable and wanted != "cpu" else "cpu")


def rate(step: int, total: int, warmup: float) -> float:
    """What the learning rate is multiplied by in `step` of `total`, from 0: up, then a cosine."""
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / (total - rising)))


def standardisation(tokens: Tensor, used: Tensor) -> Scaling:
    """Mean and deviation of features over all tokens of samples at `used` [k], read in parts.

    A feature that never varies is not scaled. Summed in float64 about the first sample's mean, so
    that a mean far from 0 costs no digits.
    """
    first = tokens[used[:1]].double().mean((0, 1))
    total, squares, largest = (torch.zeros_like(first) for _ in range(3))
    for rows in torch.split(used, _READ):
        part = tokens[rows].double()
        largest = torch.maximum(largest, part.abs().amax((0, 1)))
        part -= first
        total += part.sum((0, 1))
        squares += part.square().sum((0, 1))
    count = len(used) * tokens.shape[1]
    deviation = (squares / count - (total / count).square()).clamp(min=0).sqrt()
    constant = deviation <= 1e-6 * largest
    deviation = torch.where(constant, torch.ones_like(deviation), deviation)
    return Scaling((first + total / count).float(), deviation.float())


@torch.no_grad()
def logits(
    probe: nn.Module, tokens: Tensor, rows: Tensor, scaling: Scaling, device: torch.device
) -> Tensor:
    """Logits [k, C] on the CPU of the samples at `rows` [k], read in parts."""
    parts = [probe(_read(tokens, part, scaling, device)).cpu() for part in torch.split(rows, _READ)]
    return torch.cat(parts)


def _read(tokens: Tensor, rows: Tensor, scaling: Scaling, device: torch.device) -> Tensor:
    """Standardised tokens [k, N, P] float32 of the samples at `rows`."""
    read = tokens[rows].to(device).float()
    return (read - scaling.mean.to(device)) / scaling.deviation.to(device)


def _batches(n: int, steps: int, epochs: int, seed: int) -> Iterator[np.ndarray]:
    """Shuffled places of n samples, in `steps` nearly equal batches an epoch."""
    for epoch in range(epochs):
        drawn = SampleRng(seed, epoch, _ORDER, Stream.EVALUATION).uniforms(n)
        yield from np.array_split(np.argsort(drawn), steps)


def _adamw(probes: Sequence[AttentiveProbe], weight_decay: float) -> torch.optim.AdamW:
    """One optimizer for all; a group knows its probe's place."""
    groups = []
    for place, probe in enumerate(probes):
        matrices = [layer.weight for layer in probe.modules() if isinstance(layer, nn.Linear)]
        decayed = {id(matrix) for matrix in matrices}
        others = [p for p in probe.parameters() if id(p) not in decayed]
        groups.append({"params": matrices, "probe": place, "weight_decay": weight_decay})
        groups.append({"params": others, "probe": place, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, fused=True)
