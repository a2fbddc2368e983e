"""A number to differentiate, from whatever a module gives, and its gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from jepa.core.tokens import Loss
from jepa.testing.setup import normals


def score(found: Any) -> Tensor:
    """A loss's total; else the mean over samples of a fixed, uneven sum of outputs: [].

    Two halves of a batch have scores whose mean is that of the whole.
    """
    if isinstance(found, Loss):
        return found.total
    parts = []
    for place, output in enumerate(tree_leaves(found)):
        if isinstance(output, Tensor) and output.is_floating_point():
            weights = normals(*output.shape[1:], seed=place)
            parts.append((output.float() * weights).flatten(1).sum(dim=1).mean())
    return torch.stack(parts).sum()


def gradients(
    module: nn.Module, inputs: tuple[Any, ...], *, autocast: bool = False
) -> dict[str, Tensor | None]:
    """The gradient of the score to each parameter that is trained; None where none arrived."""
    module.zero_grad(set_to_none=True)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = module(*inputs)
    score(found).backward()  # type: ignore[no-untyped-call]
    return {
        name: None if parameter.grad is None else parameter.grad.detach().clone()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
