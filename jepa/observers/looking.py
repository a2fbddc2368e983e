"""How an observer looks at a model without leaving a trace."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from jepa.core.collective import alone
from jepa.core.training.observer import RunView


@contextlib.contextmanager
def looking(run: RunView) -> Iterator[None]:
    """No gradients, evaluation mode, the run's precision, and generators that stay as they were.

    Each module gets its own mode back: a frozen target inside a model in training stays in
    evaluation. Other processes are not asked, since observers live on the first alone.
    """
    model, device = run.model, run.device
    modes = [(module, module.training) for module in model.modules()]
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda), torch.no_grad(), alone(), run.autocast():
        model.eval()
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
