"""What a model costs, counted on the meta device: parameters, FLOPs, memory."""

from __future__ import annotations

import time

import attrs
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from jepa.core.build import build
from jepa.core.collective import alone
from jepa.core.config import RunConfig
from jepa.core.grid import Grid
from jepa.core.interfaces import MaskSampler
from jepa.core.rng import Rng
from jepa.core.tokens import Masks
from jepa.core.training.optimizer import parameter_count

_SAMPLES = 2


@attrs.frozen(kw_only=True)
class Cost:
    """Counts of one model.

    Args:
        grid: of tokens.
        encoder, predictor, target: parameters (tokenizer and encoder; the target's own).
        context_tokens, target_tokens: K and M * T of each view, of the first step or the mean.
        flops_per_sample: of one training sample: the target's forward pass once where no gradient
            goes through it, everything else three times (forward, and twice that backward).
            Recomputation does not count.
        activation_bytes: saved for the backward pass, a sample, in float32.
    """

    grid: Grid
    encoder: int
    predictor: int
    target: int
    context_tokens: tuple[int, ...]
    target_tokens: tuple[int, ...]
    flops_per_sample: float
    activation_bytes: float

    @property
    def trained(self) -> int:
        """Parameters that the optimizer holds."""
        return self.encoder + self.predictor

    def memory_bytes(self, micro_batch: int, bf16: bool) -> float:
        """An estimate: weights, gradients, two moments, the target, and activations.

        Under bf16 autocast about 0.6 of the activations' bytes remain: products keep bf16 inputs,
        norms and the residual stream float32.
        """
        activations = self.activation_bytes * micro_batch * (0.6 if bf16 else 1.0)
        return 4.0 * (4 * self.trained + self.target) + activations


def count(config: RunConfig, steps: int = 1) -> Cost:
    """Build the run's model on the meta device and count one step of it.

    Args:
        config: of the run.
        steps: whose masks are drawn, spread over the schedule; K and T are their means.
    """
    with torch.device("meta"):
        built = build(config)
    model = built.model.train()
    views = tuple(
        _mean_sizes(sampler, config, view, steps) for view, sampler in enumerate(built.samplers)
    )
    on_meta = tuple(
        Masks(
            torch.empty(_SAMPLES, k, dtype=torch.int64, device="meta"),
            torch.empty(_SAMPLES, m, t, dtype=torch.int64, device="meta"),
        )
        for k, m, t in views
    )
    inputs = torch.empty(_SAMPLES, *built.modality.spec.loaded, device="meta")
    prepared = model.prepare(inputs)
    with FlopCounterMode(display=False) as target_flops, alone():
        targets = model.target(prepared, on_meta)
    saved = _SavedBytes(model)
    with FlopCounterMode(display=False) as all_flops, saved.hooks(), alone():
        model(inputs, on_meta)
    trained = any(target.requires_grad for target in targets)
    once = 0 if trained else target_flops.get_total_flops()
    flops = once + 3 * (all_flops.get_total_flops() - once)
    return Cost(
        grid=built.grid,
        encoder=parameter_count(model.backbone.parameters()),
        predictor=parameter_count(model.predictor.parameters()),
        target=parameter_count(model.target.parameters()),
        context_tokens=tuple(k for k, _, _ in views),
        target_tokens=tuple(m * t for _, m, t in views),
        flops_per_sample=flops / _SAMPLES,
        activation_bytes=saved.total / _SAMPLES,
    )


def _mean_sizes(
    sampler: MaskSampler, config: RunConfig, view: int, steps: int
) -> tuple[int, int, int]:
    """K, M and T of a view: their means over steps, to the nearest whole."""
    batch, seed = config.train.global_batch, config.train.seed
    sizes = []
    for step in range(steps):
        # One row tells K and T: they are those of its whole group, as in training.
        rng = Rng(seed, step, 1, global_batch=batch, view=view, progress=step / steps)
        masks = sampler.sample(1, rng)
        sizes.append((masks.context.shape[1], *masks.targets.shape[1:]))
    k, m, t = (round(sum(column) / steps) for column in zip(*sizes, strict=True))
    return k, m, t


class _SavedBytes:
    """Adds up the storages that autograd saves, besides those of the parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        self._known = {p.untyped_storage()._cdata for p in model.parameters()}

    def hooks(self) -> torch.autograd.graph.saved_tensors_hooks:
        return torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.total += storage.nbytes()
        return tensor


_PEAK_BF16 = {
    "H200": 989e12,
    "H100": 989e12,
    "H800": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
"""Dense bf16 FLOP/s as the maker states them."""

_PRODUCT_SIDES = (256, 512, 1024, 2048, 4096)
_LONG_S = 0.01
"""A product that takes longer is large enough to show what the device can do."""


def peak_flops(device: torch.device, bf16: bool) -> float:
    """FLOP/s that the device can reach: the maker's figure for bf16 on a known GPU, else measured.

    Measured means the best of a few matrix products, a fraction of a second on any device.
    """
    if device.type == "cuda" and bf16:
        name = torch.cuda.get_device_name(device)
        for known in sorted(_PEAK_BF16, key=len, reverse=True):
            if known in name:
                return _PEAK_BF16[known]
    dtype = torch.bfloat16 if bf16 else torch.float32
    best = 0.0
    for side in _PRODUCT_SIDES:
        a = torch.ones(side, side, device=device, dtype=dtype)
        seconds = min(_seconds_of_product(a) for _ in range(3))
        best = max(best, 2.0 * side**3 / seconds)
        # Emulated bf16 is a hundred times slower, so size is found by trying.
        if seconds > _LONG_S:
            break
    return best


def _seconds_of_product(a: Tensor) -> float:
    _wait(a.device)
    start = time.perf_counter()
    a @ a
    _wait(a.device)
    return max(time.perf_counter() - start, 1e-9)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
