"""The abstract parts. Each is a plugin, found by name (see `jepa.core.registry`).

A part is built once, by `jepa.core.build`, from its own typed `Config` and from what the grid and
the model already know. Shape letters: see `jepa.core.tokens`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import torch
from torch import Tensor, nn

from jepa.core.grid import Grid
from jepa.core.rng import Rng
from jepa.core.tokens import Loss, Masks, Query, Tokens

if TYPE_CHECKING:
    from jepa.core.model import Backbone


@attrs.frozen
class InputSpec:
    """What a modality hands to the tokenizer.

    Args:
        shape: [*S] of one input, channels first: (C, H, W), (C, T), (C, T, H, W).
        axes: a name for each axis after the channels.
        loaded: shape of one input as the loader gives it, before `Modality.device_transform`; by
            default the same. They differ where a spectrum is made on the device.
    """

    shape: tuple[int, ...]
    axes: tuple[str, ...]
    loaded: tuple[int, ...] = attrs.field(
        default=attrs.Factory(lambda self: self.shape, takes_self=True)
    )


class Tokenizer(nn.Module, ABC):
    """Cuts inputs into tokens on a grid. Built as `cls(config, spec=InputSpec, dim=D)`."""

    Config: ClassVar[type[Any]]
    grid: Grid

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tokens:
        """Embed inputs [B, *S] -> Tokens of data [B, N, D] and coords [B, N, A]."""

    @abstractmethod
    def grid_for(self, shape: Sequence[int]) -> Grid:
        """The grid of one input of shape [*S].

        Raises:
            ConfigError: the shape cannot be cut into whole tokens.
        """

    @abstractmethod
    def raw(self, inputs: Tensor) -> Tensor:
        """The plain content of each token: [B, *S] -> [B, N, P].

        Raises:
            JepaError: tokens overlap, so that no token has a content of its own.
        """


class MaskSampler(ABC):
    """Draws one view of a step. Built as `cls(config, grid=Grid)`.

    A sampler is pure: uniform numbers in, indices out. It refuses settings that its grid cannot
    satisfy when it is built, with the numbers that clash.
    """

    Config: ClassVar[type[Any]]

    @property
    def trim_group(self) -> int | None:
        """Places of the global batch that are trimmed together; None: all of them."""
        return None

    @abstractmethod
    def sample(self, batch_size: int, rng: Rng) -> Masks:
        """Masks of `batch_size` samples; `rng` holds the uniforms of just those samples.

        Returns:
            Masks: context [B, K] and targets [B, M, T], int64, ascending and unique in a row.
        """


class Encoder(nn.Module, ABC):
    """A function of (token, coordinate) pairs. Built as `cls(config, grid=Grid, dim=D)`.

    It never sees a mask: the context pass and the target pass are the same call.
    """

    Config: ClassVar[type[Any]]
    depth: int

    @classmethod
    def width(cls, config: Any) -> int | None:
        """The width D that the settings imply (a preset's), or None; `model.dim` goes first."""
        return None

    @abstractmethod
    def forward(self, tokens: Tokens) -> Tensor:
        """Encode any subset of sites: data [B, n, D], coords [B, n, A] -> [B, n, D]."""

    @abstractmethod
    def layers(self, tokens: Tokens, indices: Sequence[int]) -> list[Tensor]:
        """Outputs [B, n, D] of the chosen blocks; -1 is the last, as in Python.

        The last block's output is normalised as in `forward`; others are as they leave the block.
        """

    @abstractmethod
    def regrid(self, grid: Grid) -> None:
        """Prepare for a grid of another size (same axes), such as a larger image at evaluation."""


class Attentive(ABC):
    """An encoder, besides, that can show what its tokens attend to. Not every encoder can."""

    @abstractmethod
    def attention(self, tokens: Tokens, index: int) -> Tensor:
        """Attention weights in a chosen block: data [B, n, D], coords [B, n, A] -> [B, H, n, n].

        H heads; row i says how token i shares its attention among all, and sums to 1. Index -1 is
        the last block, as in Python.

        Raises:
            ConfigError: there is no such block.
        """


class Predictor(nn.Module, ABC):
    """Predicts representations of hidden places.

    Built as `cls(config, grid=Grid, dim=D, target_dim=D_target, views=number of views)`.
    """

    Config: ClassVar[type[Any]]

    @abstractmethod
    def forward(self, context: Tokens, query: Query) -> Tensor:
        """Predict: context data [b, K, D] and query [b, T, A] -> [b, T, D_target]."""


class Target(nn.Module, ABC):
    """What gives the step its targets; decides about gradients. Called once a step.

    `dim` is the width of its targets. `backbone` is the network that users evaluate, which
    checkpoints export; None: the online one, as where nothing trains the target (frozen, pixels).
    """

    dim: int

    @property
    @abstractmethod
    def backbone(self) -> Backbone | None:
        """The network that users evaluate, or None: the online backbone."""

    @abstractmethod
    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
        """Targets [B, M, T, dim] of each view, from prepared inputs [B, *S]."""


class TargetUpdater(ABC):
    """Makes the target from the online backbone and moves it. Stateless. Built as `cls(config)`."""

    Config: ClassVar[type[Any]]

    @abstractmethod
    def make_target(self, online: Backbone) -> Target:
        """The target as it stands before the first step."""

    @abstractmethod
    def update(
        self, target: Target, online: Backbone, progress: float, applied: Tensor
    ) -> Mapping[str, float]:
        """Move the target after an optimizer step.

        Args:
            target: what `make_target` gave, changed in place.
            online: the backbone after the step.
            progress: step / total steps of the schedule, in [0, 1].
            applied: [] float32 on the device, 1 if the optimizer took the step, 0 if the step was
                skipped; where it is 0 the target must stay as it is. Reading it would wait for
                the device: multiply by it.

        Returns:
            Named scalars for the log, such as the momentum.
        """


class Regularizer(nn.Module, ABC):
    """Adds a term to any objective. Built as `cls(config, dim=D)`.

    Statistics are those of the batch of all processes (`jepa.core.mean_over_processes`).
    """

    Config: ClassVar[type[Any]]
    accumulates: ClassVar[bool] = False
    """Whether the mean of the term over micro-steps is that of the whole batch. Unless it is,
    `train.accumulate` is refused: statistics of a part of the batch are others."""

    @abstractmethod
    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """The weighted term, from the tensors that `Objective.forward` gets.

        Its `parts` are what the log shows besides, such as the term's unweighted summands.
        """


class Objective(nn.Module, ABC):
    """Compares predictions with targets; the normalisation of targets lives here.

    Built as `cls(config)`.
    """

    Config: ClassVar[type[Any]]

    @abstractmethod
    def forward(
        self, predictions: Sequence[Tensor], targets: Sequence[Tensor], context: Sequence[Tensor]
    ) -> Loss:
        """The loss of one step.

        Args:
            predictions: [B, M, T, D_target] of each view.
            targets: [B, M, T, D_target] of each view.
            context: [B, K, D] of each view, the encoded context.
        """

    def normalise(self, targets: Tensor) -> Tensor:
        """Targets [B, M, T, D_target] of a view, in the space that predictions are compared in.

        What looks at a trained model asks for it. By default that is the targets' own space.
        """
        return targets


def no_grad_eval(module: nn.Module) -> nn.Module:
    """Freeze a module in place (no gradients, evaluation mode) and return it."""
    module.requires_grad_(False)
    return module.eval()


def ones(device: torch.device) -> Tensor:
    """`applied` of a step that was taken: [] float32."""
    return torch.ones((), device=device)
