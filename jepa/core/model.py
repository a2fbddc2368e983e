"""The JEPA step's forward pass: the one module that DDP wraps. Shape letters: `core.tokens`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from jepa.core.interfaces import (
    Encoder,
    InputSpec,
    Objective,
    Predictor,
    Regularizer,
    Target,
    Tokenizer,
)
from jepa.core.tokens import Loss, Masks, Query, Tokens, gather


class Backbone(nn.Module):
    """Tokenizer and encoder: what is trained, averaged, exported and evaluated.

    Inputs [B, *S] are prepared: floats, as `Modality.device_transform` gives them.

    Args:
        tokenizer: cuts inputs into tokens.
        encoder: of tokens.
        dim: D.
        spec: of the inputs that it is built for.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Encoder, dim: int, spec: InputSpec) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.dim = dim
        self.spec = spec
        self._grid = tokenizer.grid

    def tokens(self, inputs: Tensor) -> Tokens:
        """Tokens of inputs [B, *S]; a grid of another size readies the encoder for it."""
        grid = self.tokenizer.grid_for(inputs.shape[1:])
        if grid != self._grid:
            self.encoder.regrid(grid)
            self._grid = grid
        tokens: Tokens = self.tokenizer(inputs)
        return tokens

    def forward(self, inputs: Tensor) -> Tensor:
        """Encode whole inputs: [B, *S] -> [B, N, D]."""
        return self.encoder(self.tokens(inputs))  # type: ignore[no-any-return]

    def layers(self, inputs: Tensor, indices: Sequence[int]) -> list[Tensor]:
        """Outputs [B, N, D] of the chosen blocks of the encoder."""
        return self.encoder.layers(self.tokens(inputs), indices)


class Representations(NamedTuple):
    """Both sides of the loss: tuples over the views of a step.

    `predictions` and `targets` are [B, M, T, D_target], `context` is [B, K, D].
    """

    predictions: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    context: tuple[Tensor, ...]


class JEPA(nn.Module):
    """Context encoder, predictor, target and objective: inputs and views in, Loss out.

    Args:
        prepare: the modality's device transform.
        backbone: the context encoder with its tokenizer, which gradients train.
        predictor: predicts targets from context.
        target: gives the targets; moved by a TargetUpdater, or shared with the backbone.
        objective: compares predictions and targets.
        regularizers: terms added to the objective's, by the names that the log knows them by.
    """

    def __init__(
        self,
        *,
        prepare: nn.Module,
        backbone: Backbone,
        predictor: Predictor,
        target: Target,
        objective: Objective,
        regularizers: Mapping[str, Regularizer] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.predictor = predictor
        self.target = target
        self.objective = objective
        self.regularizer_names = tuple(regularizers)
        # No list, since blocks of lists are compiled, and these may talk to other processes.
        self.regularizers = nn.Sequential(*regularizers.values())

    def represent(self, inputs: Tensor, views: Sequence[Masks]) -> Representations:
        """Predictions, targets and context of each view, from inputs [B, *S] as loaded."""
        prepared = self.prepare(inputs)  # [B, *S] float
        targets = self.target(prepared, views)  # a view: [B, M, T, D_target]
        tokens = self.backbone.tokens(prepared)  # [B, N, D]
        predictions, contexts = [], []
        for view, masks in enumerate(views):
            context = self.encode(tokens, masks)  # [B, K, D]
            predictions.append(self.predict(context, tokens, masks, view))
            contexts.append(context.data)
        return Representations(tuple(predictions), tuple(targets), tuple(contexts))

    def encode(self, tokens: Tokens, masks: Masks) -> Tokens:
        """Encode the context alone: data [B, N, D] -> [B, K, D]."""
        seen = tokens.take(masks.context)
        return Tokens(self.backbone.encoder(seen), seen.coords)

    def predict(self, context: Tokens, tokens: Tokens, masks: Masks, view: int) -> Tensor:
        """Predict each target block on its own: context [B, K, D] -> [B, M, T, D_target].

        The M blocks fold into the batch, here and nowhere else.
        """
        M = masks.targets.shape[1]  # noqa: N806
        asked = gather(tokens.coords, rearrange(masks.targets, "B M T -> B (M T)"))
        folded = Tokens(*(repeat(part, "B K d -> (B M) K d", M=M) for part in context))
        query = Query(rearrange(asked, "B (M T) A -> (B M) T A", M=M), view)
        predicted: Tensor = self.predictor(folded, query)
        return rearrange(predicted, "(B M) T D -> B M T D", M=M)

    def forward(self, inputs: Tensor, views: Sequence[Masks]) -> Loss:
        """The loss of a batch: inputs [B, *S] as loaded, one Masks a view.

        Where there are regularizers, the parts hold `objective` and each regularizer's term.
        """
        found = self.represent(inputs, views)
        loss: Loss = self.objective(*found)
        total, parts = loss.total, dict(loss.parts)
        if self.regularizer_names:
            parts["objective"] = loss.total.detach()
        for name, regularizer in zip(self.regularizer_names, self.regularizers, strict=True):
            term: Loss = regularizer(*found)
            total = total + term.total
            parts[name] = term.total.detach()
            parts |= {f"{name}/{part}": value for part, value in term.parts.items()}
        return Loss(total, parts)


def take_targets(features: Tensor, views: Sequence[Masks]) -> tuple[Tensor, ...]:
    """Features at the target places: [B, N, D] -> [B, M, T, D] of each view."""
    rows = torch.arange(features.shape[0], device=features.device)[:, None, None]
    return tuple(features[rows, masks.targets] for masks in views)


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, and each module's own mode after: targets know no drop path."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
