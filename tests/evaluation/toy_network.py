"""Samples in memory with a small real network behind them, for protocols that train it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from einops import reduce
from torch import Tensor, nn

from jepa.core.errors import ConfigError, Fault
from jepa.core.grid import Grid
from jepa.core.interfaces import InputSpec
from jepa.core.model import Backbone
from jepa.core.probing import Batch, Network, Pool, Samples
from jepa.core.rng import permutation
from jepa.plugins.encoders.vit import ViTEncoder
from jepa.plugins.tokenizers.patch import PatchTokenizer

DIM, DEPTH = 16, 2


def make_backbone(shape: tuple[int, ...], drop_path: float = 0.0) -> Backbone:
    """A ViT on patches of two values along each axis of [C, *axes], the same each time."""
    axes = tuple("zyx"[-len(shape[1:]) :])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patches = PatchTokenizer.Config(size=(2,) * len(axes), init_std=0.02)
        spec = InputSpec(shape, axes)
        tokenizer = PatchTokenizer(patches, spec=spec, dim=DIM)
        settings = ViTEncoder.Config(depth=DEPTH, heads=2, drop_path=drop_path, init_std=0.1)
        encoder = ViTEncoder(settings, grid=tokenizer.grid, dim=DIM)
    return Backbone(tokenizer, encoder, DIM, spec)


class ToyInputs(Samples):
    """Inputs [n, C, *axes], as a candidate with `make_backbone`'s network.

    It keeps the networks that it handed out, so that tests can look at what became of them.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, *, knows_drop_path: bool = True) -> None:
        self.inputs, self._labels = inputs, labels
        self._knows_drop_path = knows_drop_path
        self.handed_out: list[Network] = []

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def labels(self) -> Tensor:
        return self._labels

    @property
    def classes(self) -> tuple[str, ...]:
        return ("a", "b")

    def quantity(self, name: str) -> Tensor:
        raise NotImplementedError

    @property
    def grid(self) -> Grid:
        return self._backbone().tokenizer.grid

    def pooled(self, layers: int = 1, pool: Pool = "mean") -> Tensor:
        assert pool == "mean"
        return reduce(self.tokens(), "n N D -> n D", "mean")

    @torch.no_grad()
    def tokens(self) -> Tensor:
        return self._backbone().eval()(self.inputs)

    def take(self, places: Tensor) -> ToyInputs:
        return ToyInputs(self.inputs[places], self._labels[places])

    def network(self, settings: Sequence[str] = ()) -> Network:
        if settings and not self._knows_drop_path:
            raise ConfigError(Fault("model.encoder.drop_path", "unknown key, allowed: depth"))
        rates = [float(text.removeprefix("model.encoder.drop_path=")) for text in settings]
        self.handed_out.append(Network(nn.Identity(), self._backbone(*rates)))
        return self.handed_out[-1]

    def batches(self, batch_size: int) -> Iterator[Batch]:
        parts = self.inputs.split(batch_size), self._labels.split(batch_size)
        yield from map(Batch, *parts)

    def training_batches(self, batch_size: int, steps: int, seed: int) -> Iterator[Batch]:
        for step in range(steps):
            rows = torch.from_numpy(permutation(seed, step, len(self)))[:batch_size]
            yield Batch(self.inputs[rows], self._labels[rows])

    def _backbone(self, drop_path: float = 0.0) -> Backbone:
        return make_backbone(tuple(self.inputs.shape[1:]), drop_path)


def products(n: int, seed: int) -> ToyInputs:
    """Whether two of the eight values of a token have the same sign: no linear classifier can tell.

    Inputs are [n, 4, 8]: four tokens of four channels and two places each.
    """
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=rng)
    inputs = torch.randn(n, 4, 8, generator=rng)
    signs = torch.randint(2, (n, 4), generator=rng) * 2 - 1
    inputs[:, 0, ::2] += 2 * signs
    inputs[:, 1, ::2] += 2 * signs * (2 * labels[:, None] - 1)
    return ToyInputs(inputs, labels)
