"""An encoder with a linear classifier on top, to be trained as a whole."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from einops import reduce
from torch import Tensor, nn

from jepa.core.probing import Network, Samples
from jepa.core.training import precision


@final
class Classifier(nn.Module):
    """A linear classifier, started at zero, on the mean of a backbone's tokens.

    The encoder ends with a norm of its own, so none stands between.

    Args:
        network: that classifies; its backbone is trained in place.
        classes: C.
    """

    def __init__(self, network: Network, classes: int) -> None:
        super().__init__()
        self.prepare, self.backbone = network
        self.device = next(self.backbone.parameters()).device
        self.weight = nn.Parameter(torch.zeros(classes, self.backbone.dim, device=self.device))
        self.bias = nn.Parameter(torch.zeros(classes, device=self.device))

    def prepared(self, inputs: Tensor) -> Tensor:
        """Inputs [B, *S] as the loader gives them -> floats on the device."""
        prepared: Tensor = self.prepare(inputs.to(self.device, non_blocking=True))
        return prepared

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of prepared inputs, in bf16 on a GPU that has it: [B, *S] -> [B, C] float32."""
        # A CPU stays at fp32: predictions are then the same on every CPU, up to rounding.
        cpu = self.device.type == "cpu"
        numbers = precision.resolve(
            "fp32" if cpu else "auto", self.device, dim=self.backbone.dim, rows=0
        )
        with precision.autocast(numbers, self.device):
            pooled = reduce(self.backbone(inputs), "b N D -> b D", "mean")
            return F.linear(pooled, self.weight, self.bias).float()

    @torch.inference_mode()
    def logits(self, samples: Samples, batch_size: int) -> Tensor:
        """Of all samples in order, in evaluation mode: [n, C], on the CPU."""
        self.eval()
        batches = samples.batches(batch_size)
        return torch.cat([self(self.prepared(batch.inputs)).cpu() for batch in batches])
