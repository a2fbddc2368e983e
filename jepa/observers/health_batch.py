"""What `health` measures on the fixed batch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import attrs
import torch
from einops import rearrange, reduce
from torch import Tensor

from jepa.core.build import make_samplers
from jepa.core.health.measures import alignment, drift, explained_variance, lidar, uniformity
from jepa.core.health.trivial import batch_mean, nearest_copy, position_mean
from jepa.core.statistics import feature_std, normalized_std, rank_me, spread_rows
from jepa.core.tokens import Masks, gather
from jepa.core.training.fixed import fixed_masks
from jepa.core.training.observer import RunView
from jepa.observers.looking import looking


class Seen(NamedTuple):
    """What the model makes of the fixed batch; tuples over the views.

    Attributes:
        predictions: [B, M, T, D_target].
        targets: [B, M, T, D_target], as the target gives them.
        copied: what the target makes of the context's places, [B, 1, K, D_target].
        contexts: encoded context [B, K, D] under the fixed masks.
        pooled: the context's mean token under each draw of masks, [B, q, D]; no tuple.
        coords: of all tokens, [B, N, A]; no tuple.
    """

    predictions: tuple[Tensor, ...]
    targets: tuple[Tensor, ...]
    copied: tuple[Tensor, ...]
    contexts: tuple[Tensor, ...]
    pooled: Tensor
    coords: Tensor


@attrs.frozen
class BatchMeasures:
    """Measures a model on the fixed batch of its run.

    Args:
        run: to look at.
        rows: tokens of a kind that count for ranks and spreads.
        draws: masks of a sample, for what compares a sample's contexts (LiDAR's q, alignment).
    """

    run: RunView
    rows: int
    draws: int

    def __call__(self) -> dict[str, float]:
        """The scalars, without the prefix of their names."""
        run = self.run
        batch = run.fixed_batch()
        with looking(run):
            seen = self._look(batch.inputs, batch.views)
            found = {
                **self._losses(seen, batch.views),
                **self._spread(seen),
                **self._versions(seen),
                **self._drift(),
            }
        values = torch.stack([value.double().cpu() for value in found.values()]).tolist()
        return dict(zip(found, values, strict=True))

    def _look(self, inputs: Tensor, views: Sequence[Masks]) -> Seen:
        model = self.run.model
        prepared = model.prepare(inputs)
        asked = [Masks(masks.context, masks.context[:, None]) for masks in views]
        found = model.target(prepared, (*views, *asked))
        tokens = model.backbone.tokens(prepared)
        contexts = [model.encode(tokens, masks) for masks in views]
        predictions = tuple(
            model.predict(context, tokens, masks, view)
            for view, (context, masks) in enumerate(zip(contexts, views, strict=True))
        )
        others = [model.encode(tokens, masks).data for masks in self._others]
        pooled = [reduce(data, "B K D -> B D", "mean") for data in (contexts[0].data, *others)]
        return Seen(
            predictions,
            tuple(found[: len(views)]),
            tuple(found[len(views) :]),
            tuple(context.data for context in contexts),
            torch.stack(pooled, dim=1),
            tokens.coords,
        )

    @cached_property
    def _others(self) -> list[Masks]:
        """The first view's masks of the other draws."""
        run, samples = self.run, len(self.run.fixed_batch().inputs)
        samplers = make_samplers(run.config, run.model.backbone.tokenizer.grid)[:1]
        return [
            fixed_masks(samplers, run.config.train.seed, samples, run.device, draw)[0]
            for draw in range(1, self.draws)
        ]

    def _losses(self, seen: Seen, views: Sequence[Masks]) -> dict[str, Tensor]:
        """The loss of the predictor and of three that need no training; explained variance."""
        objective = self.run.model.objective
        size = self.run.model.backbone.tokenizer.grid.size
        goals = [objective.normalise(targets) for targets in seen.targets]

        def loss(predictions: Sequence[Tensor]) -> Tensor:
            total: Tensor = objective(predictions, seen.targets, seen.contexts).total
            return total

        places = [masks.targets for masks in views]
        rivals = {
            "loss_mean": [batch_mean(goal) for goal in goals],
            "loss_position": [
                position_mean(goal, place, size) for goal, place in zip(goals, places, strict=True)
            ],
            "loss_copy": [self._copied(seen, view, masks) for view, masks in enumerate(views)],
        }
        return {
            "loss": loss(seen.predictions),
            **{name: loss(predictions) for name, predictions in rivals.items()},
            "explained_variance": explained_variance(seen.predictions, goals),
        }

    def _copied(self, seen: Seen, view: int, masks: Masks) -> Tensor:
        known = rearrange(self.run.model.objective.normalise(seen.copied[view]), "B 1 K D -> B K D")
        M = masks.targets.shape[1]  # noqa: N806
        asked = gather(seen.coords, rearrange(masks.targets, "B M T -> B (M T)"))
        coords = rearrange(asked, "B (M T) A -> B M T A", M=M)
        return nearest_copy(known, gather(seen.coords, masks.context), coords)

    def _spread(self, seen: Seen) -> dict[str, Tensor]:
        targets, predicted, context = map(
            self._tokens, (seen.targets, seen.predictions, seen.contexts)
        )
        return {
            "target_std": normalized_std(targets),
            "context_std": normalized_std(context),
            "predicted_std": feature_std(predicted),
            "target_rank": rank_me(targets),
            "context_rank": rank_me(context),
            "predicted_rank": rank_me(predicted),
        }

    def _tokens(self, views: Sequence[Tensor]) -> Tensor:
        """Tokens of all views: [B, ..., D] each -> [n, D], n at most `rows`."""
        rows = torch.cat([rearrange(view, "B ... D -> (B ...) D") for view in views])
        return spread_rows(rows, self.rows)

    def _versions(self, seen: Seen) -> dict[str, Tensor]:
        """What needs several versions of a sample: blocks of targets, contexts under masks."""
        blocks = reduce(seen.targets[0], "B M T D -> B M D", "mean")
        first, second = seen.pooled[:, 0], seen.pooled[:, 1]
        found = {"alignment": alignment(first, second)}
        if len(first) > 1:
            found |= {"uniformity": uniformity(first), "context_lidar": lidar(seen.pooled)}
        if len(first) > 1 and blocks.shape[1] > 1:
            found |= {"target_lidar": lidar(blocks)}
        return found

    def _drift(self) -> dict[str, Tensor]:
        """Nothing where the target is the online network, or none."""
        target, online = self.run.model.target.backbone, self.run.model.backbone
        if target is None or target is online:
            return {}
        return {"ema_drift": drift(target, online)}
