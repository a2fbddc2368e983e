"""AdamW with its parameter groups, and a step that a non-finite gradient cannot take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from jepa.core.config import OptimConfig

_FUSED = frozenset({"cpu", "cuda"})


class Optimizer:
    """AdamW over the trainable parameters of a model.

    Weight decay acts on matrices alone: biases and parameters of one dimension are excluded
    (recipe: I-JEPA, Step). The step is gated on the device, so that nothing waits for it.
    """

    def __init__(self, model: nn.Module, config: OptimConfig) -> None:
        self.clip = config.clip_grad
        self.clips = True
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.named: Mapping[str, nn.Parameter] = named
        self.parameters = list(named.values())
        self.clipped = parts(named) if config.clip_of == "parts" else [self.parameters]
        decayed = [p for name, p in named.items() if decays(name, p)]
        others = [p for name, p in named.items() if not decays(name, p)]
        self.device = self.parameters[0].device
        self.adamw = torch.optim.AdamW(
            [{"params": decayed, "decayed": True}, {"params": others, "decayed": False}],
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            weight_decay=0.0,
            fused=self.device.type in _FUSED,
        )
        # From the start, so that a parameter which never gets a gradient has a state to save too.
        for p in self.parameters:
            self.adamw.state[p] = self._fresh(p)

    def _fresh(self, p: nn.Parameter) -> dict[str, Tensor]:
        # Kernels that are not fused want the count on the CPU.
        place = self.device if self.device.type in _FUSED else torch.device("cpu")
        return {
            "step": torch.zeros((), dtype=torch.float32, device=place),
            "exp_avg": torch.zeros_like(p),
            "exp_avg_sq": torch.zeros_like(p),
        }

    def set(self, lr: float, weight_decay: float, clips: bool = True) -> None:
        """Set the values of the coming step, and whether its gradient is clipped."""
        self.clips = clips
        for group in self.adamw.param_groups:
            group["lr"] = lr
            group["weight_decay"] = weight_decay if group["decayed"] else 0.0

    def step(self) -> tuple[Tensor, Tensor]:
        """Clip, and step where the gradient is finite.

        Returns:
            The norm of the whole gradient before clipping [], and `applied` [] float32: 1 if the
            step was taken, 0 if it was skipped. Both stay on the device.
        """
        norm = self._clip()
        applied = torch.isfinite(norm).float()
        if self.device.type in _FUSED:
            # The fused kernel reads this as GradScaler would set it: 1 means 'leave all as it is'.
            self.adamw.found_inf = 1.0 - applied  # type: ignore[attr-defined]
            self.adamw.step()
        elif bool(applied):
            self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)
        return norm, applied

    def _clip(self) -> Tensor:
        """Clip where this step is clipped. The norm of the whole gradient before that []."""
        norms = []
        for part in self.clipped:
            grads = [p.grad for p in part if p.grad is not None]
            if not grads:
                continue
            norm = torch.nn.utils.get_total_norm(grads)
            if self.clip is not None and self.clips:
                torch.nn.utils.clip_grads_with_norm_(part, self.clip, norm)
            norms.append(norm)
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))

    def tensors(self) -> dict[str, Tensor]:
        """The optimizer's state by parameter: `{name}.exp_avg` and the like."""
        return {
            f"{name}.{key}": value
            for name, p in self.named.items()
            for key, value in self.adamw.state[p].items()
        }


def parts(named: Mapping[str, nn.Parameter]) -> list[list[nn.Parameter]]:
    """Parameters by the child of the model that they belong to; its own are a part too."""
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in named.items():
        child, dot, _ = name.partition(".")
        found.setdefault(child if dot else "", []).append(parameter)
    return list(found.values())


def decays(name: str, parameter: Tensor) -> bool:
    """Whether weight decay acts on a parameter."""
    return parameter.ndim > 1 and not name.endswith("bias")


def parameter_count(parameters: Iterable[Tensor]) -> int:
    """Numbers in all of the parameters."""
    return sum(p.numel() for p in parameters)
