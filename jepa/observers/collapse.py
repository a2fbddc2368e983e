"""Watches for collapse: how much the features of a fixed batch spread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import final

import attrs
import torch
from einops import rearrange
from torch import Tensor, nn

from jepa.core.settings import positive
from jepa.core.statistics import feature_std, normalized_std, rank_me, spread_rows
from jepa.core.training.observer import Observer, Outcome, Record, RunView


@final
class Collapse(Observer):
    """Measures the spread of targets, predictions and context at step 1 and every `every` steps.

    All tokens of a kind, over the samples, target blocks and views of the fixed batch, are rows;
    of many rows, `rows` evenly spaced ones count.

    - `collapse/target_std`: layer-norm each target token over its features (no affine), take the
      standard deviation of each feature over tokens, and the mean over features. 1 is free, 0 is
      collapsed.
    - `collapse/predicted_std`: the same of predictions, but not layer-normed. Predictions of
      layer-normed targets compare with `target_std`: a smaller value means that the predictor
      stays near the mean.
    - `collapse/context_std`: as `target_std`, of the encoded context tokens.
    - `collapse/target_rank`, `collapse/predicted_rank`: RankMe (arXiv 2210.02885) of the tokens
      as they are, between 1 and the width.
    """

    @attrs.frozen(kw_only=True)
    class Config:
        """How often and how closely to look."""

        every: int = attrs.field(default=100, validator=positive)
        """Steps between two measurements; the first step is always measured."""
        rows: int = attrs.field(default=2048, validator=positive)
        """Tokens of each kind that count. A rank can't exceed it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._run: RunView | None = None

    def start(self, run: RunView) -> None:
        """Keep the run to look at; nothing is computed yet."""
        self._run = run

    def measure(self, step: int) -> Mapping[str, float]:
        """The five measures where they are due."""
        if self._run is None or (step != 1 and step % self.config.every):
            return {}
        return self._spread(self._run)

    def record(self, record: Record) -> None:
        """Nothing: this observer only measures."""

    def saved(self, step: int) -> None:
        """Nothing is held."""

    def finish(self, outcome: Outcome) -> None:
        """Let go of the model."""
        self._run = None

    def _spread(self, run: RunView) -> dict[str, float]:
        batch = run.fixed_batch()
        with _looking(run.model, run.device), run.autocast():
            found = run.model.represent(batch.inputs, batch.views)
        targets, predicted = self._rows(found.targets), self._rows(found.predictions)
        measured = {
            "collapse/target_std": normalized_std(targets),
            "collapse/predicted_std": feature_std(predicted),
            "collapse/context_std": normalized_std(self._rows(found.context)),
            "collapse/target_rank": rank_me(targets),
            "collapse/predicted_rank": rank_me(predicted),
        }
        values = torch.stack([value.double() for value in measured.values()]).tolist()
        return dict(zip(measured, values, strict=True))

    def _rows(self, views: Sequence[Tensor]) -> Tensor:
        """Tokens of all views: [B, ..., D] each -> [n, D], n at most `rows`."""
        rows = torch.cat([rearrange(view, "b ... d -> (b ...) d") for view in views])
        return spread_rows(rows, self.config.rows)


@contextlib.contextmanager
def _looking(model: nn.Module, device: torch.device) -> Iterator[None]:
    """No gradients, evaluation mode, and generators that are afterwards as they were.

    Each module gets its own mode back: a frozen target inside a model in training stays in
    evaluation.
    """
    modes = [(module, module.training) for module in model.modules()]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
