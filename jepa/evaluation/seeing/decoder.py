"""A small generative decoder: from a predicted block to its content, differently for each noise.

Flow matching (Lipman et al., arXiv 2210.02747): a network learns the velocity that carries noise to
content along straight lines, given the predicted representation and nothing else. So what the
samples of one prediction share is in the prediction, and what varies among them is not.

A block's content is described by its principal components, each in units of its spread. So a
network that has learned nothing yet draws blocks as smooth as real ones, and need not learn this
first.

Letters: b blocks, T tokens of a block, D width of predictions, P numbers of a token's content, q
principal components.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, final

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from jepa.core.interfaces import no_grad_eval
from jepa.core.rng import SampleRng, Stream

_WIDTH = 128
_DEPTH = 3
_HEADS = 4
_BATCH = 128
_LR = 2e-3
_WARMUP = 0.05
_EULER_STEPS = 40
_WAVES = 16
_KEPT = 0.98
_MOST_COMPONENTS = 256
_ROWS = 2048


class Pairs(NamedTuple):
    """What the decoder learns from: predictions [n, T, D] and true contents [n, T, P]."""

    predictions: Tensor
    contents: Tensor


class Basis(NamedTuple):
    """Principal components of blocks.

    Attributes:
        mean: of contents, [T * P].
        axes: orthonormal, [q, T * P].
        spread: standard deviation along each, [q].
    """

    mean: Tensor
    axes: Tensor
    spread: Tensor

    def components(self, contents: Tensor) -> Tensor:
        """[n, T, P] -> [n, q], in units of their spread."""
        return ((contents.flatten(1) - self.mean) @ self.axes.T) / self.spread

    def contents(self, components: Tensor, tokens: int) -> Tensor:
        """[n, q] -> [n, T, P]."""
        flat = (components * self.spread) @ self.axes + self.mean
        return rearrange(flat, "n (T P) -> n T P", T=tokens)


def basis(contents: Tensor) -> Basis:
    """The components that hold 98% of the variance of contents [n, T, P], at most 256."""
    rows = contents[:_ROWS].flatten(1)
    mean = rows.mean(0)
    _, scale, axes = torch.linalg.svd(rows - mean, full_matrices=False)
    share = scale.square().cumsum(0) / scale.square().sum().clamp(min=1e-12)
    kept = min(int((share < _KEPT).sum()) + 1, _MOST_COMPONENTS, len(scale))
    return Basis(mean, axes[:kept], (scale[:kept] / len(rows) ** 0.5).clamp(min=1e-6))


@final
class BlockDecoder(nn.Module):
    """Velocity of a block's components, a small transformer over its T tokens.

    Args:
        tokens: T.
        dim: D.
        components: q.
    """

    def __init__(self, tokens: int, dim: int, components: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.components = components
        self.place = nn.Parameter(torch.zeros(tokens, _WIDTH))
        self.content = nn.Linear(components, tokens * _WIDTH)
        self.prediction = nn.Linear(dim, _WIDTH)
        self.time = nn.Linear(2 * _WAVES, _WIDTH)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                _WIDTH, _HEADS, 4 * _WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
            )
            for _ in range(_DEPTH)
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.out = nn.Linear(tokens * _WIDTH, components)

    def forward(self, noisy: Tensor, time: Tensor, predictions: Tensor) -> Tensor:
        """Velocity: noisy [b, q], time [b] in [0, 1], predictions [b, T, D] -> [b, q]."""
        angles = time[:, None] * math.pi * torch.arange(_WAVES, device=time.device)
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        x = rearrange(self.content(noisy), "b (T D) -> b T D", T=self.tokens)
        x = x + self.prediction(predictions) + self.place
        x = x + rearrange(self.time(waves), "b D -> b 1 D")
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x).flatten(1))  # type: ignore[no-any-return]


@final
class Sampler:
    """A trained decoder with the units it was trained in."""

    def __init__(self, network: BlockDecoder, units: tuple[Tensor, Tensor], basis: Basis) -> None:
        self._network = network
        self._mean, self._spread = units
        self._basis = basis

    @torch.inference_mode()
    def sample(self, predictions: Tensor, samples: int, seed: int) -> Tensor:
        """Contents of predicted blocks, each from another noise.

        Args:
            predictions: [b, T, D], on the device.
            samples: of each block, s.
            seed: of the noise.

        Returns:
            [b, s, T, P], on the device; content of pictures lies in [-1, 1].
        """
        given = repeat(predictions, "b T D -> (b s) T D", s=samples)
        given = (given - self._mean) / self._spread
        x = _normals(seed, 0, (len(given), self._network.components)).to(given.device)
        for step in range(_EULER_STEPS):
            time = torch.full((len(x),), (step + 0.5) / _EULER_STEPS, device=x.device)
            x = x + self._network(x, time, given) / _EULER_STEPS
        contents = self._basis.contents(x, given.shape[1])
        return rearrange(contents, "(b s) T P -> b s T P", s=samples)


def train_decoder(
    pairs: Pairs,
    steps: int,
    seed: int,
    device: torch.device,
    told: Callable[[int], None] = lambda step: None,
) -> Sampler:
    """Fit a decoder to predictions and contents.

    Args:
        pairs: on the CPU.
        steps: of the optimizer, each on 128 blocks.
        seed: of weights, order and noise.
        device: where to train.
        told: is called after each step with its number, from 1.
    """
    units = pairs.predictions.mean().to(device), pairs.predictions.std().clamp(min=1e-6).to(device)
    described = basis(pairs.contents)
    contents = described.components(pairs.contents)
    # Coarse components count for more, yet not by their variance: fine ones would be forgotten.
    weight = (described.spread / described.spread.mean()).to(device)
    network = _initial(pairs, contents.shape[1], seed).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=0.01)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = _LR * _schedule(step / steps)
        chosen = _uniforms(seed, 3 * step + 1, (min(_BATCH, len(contents)),))
        rows = (chosen * len(contents)).long()
        given = (pairs.predictions[rows].to(device) - units[0]) / units[1]
        content = contents[rows].to(device)
        noise = _normals(seed, 3 * step + 2, tuple(content.shape)).to(device)
        # A time in each part of the way, which spares much of the noise of drawing them freely.
        spread = torch.arange(len(rows)) + _uniforms(seed, 3 * step + 3, (len(rows),))
        time = (spread / len(rows)).to(device)
        velocity = network(torch.lerp(noise, content, time[:, None]), time, given)
        loss = (weight * (velocity - (content - noise)).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        told(step + 1)
    no_grad_eval(network)
    return Sampler(network, units, Basis(*(part.to(device) for part in described)))


def _initial(pairs: Pairs, components: int, seed: int) -> BlockDecoder:
    """The decoder before training. Its weights come from our own numbers, not from torch's."""
    tokens, dim = pairs.predictions.shape[1:]
    with torch.device("meta"):
        network = BlockDecoder(tokens, dim, components)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for place, (name, weight) in enumerate(network.named_parameters()):
            if weight.ndim > 1:
                weight.copy_(_normals(seed, -1 - place, tuple(weight.shape)))
                weight.mul_(weight.shape[-1] ** -0.5)
            else:
                weight.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
        # It starts without an opinion.
        network.out.weight.zero_()
    return network


def _schedule(progress: float) -> float:
    """The learning rate's share: a short rise, then a cosine to zero."""
    if progress < _WARMUP:
        return (progress + 1e-3) / _WARMUP
    return 0.5 * (1 + math.cos(math.pi * progress))


def _uniforms(seed: int, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Uniforms float32 in (0, 1), a function of (seed, draw)."""
    drawn = SampleRng(seed, draw % 2**32, 0, Stream.EVALUATION).uniforms(math.prod(shape))
    return torch.from_numpy(drawn).clamp(1e-9, 1 - 1e-9).reshape(shape).float()


def _normals(seed: int, draw: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers float32, a function of (seed, draw)."""
    drawn = SampleRng(seed, draw % 2**32, 0, Stream.EVALUATION).uniforms(math.prod(shape))
    normals: Tensor = torch.special.ndtri(torch.from_numpy(drawn).clamp(1e-9))
    return normals.reshape(shape).float()
