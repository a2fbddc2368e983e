"""A trained encoder as people use it: from a file to features."""

from __future__ import annotations

from pathlib import Path
from typing import final

from einops import reduce
from torch import Tensor, nn

from jepa.core.config import RunConfig
from jepa.core.errors import DecodeError
from jepa.core.modality import Content, Modality
from jepa.core.model import Backbone


@final
class TrainedEncoder(nn.Module):
    """A frozen backbone with its modality: what `jepa.load` gives.

    It moves like any module (`.to("cuda")`); inputs go to its device first, as with any module.
    Letters: B batch, N tokens of the grid, D width, S shape of an input.

    Args:
        backbone: frozen, in evaluation mode.
        modality: that it was trained on.
        config: of the run.
    """

    def __init__(self, backbone: Backbone, modality: Modality, config: RunConfig) -> None:
        super().__init__()
        self.backbone = backbone
        self.prepare = modality.device_transform()
        self.modality = modality
        self.config = config
        self.eval()

    @property
    def dim(self) -> int:
        """Width D of the features."""
        return self.backbone.dim

    def transform(self, content: Content | str) -> Tensor:
        """One sample to one input [*S], by the run's evaluation transform; on the CPU.

        Args:
            content: a file's path, its bytes, or an array.

        Raises:
            DecodeError: it cannot be decoded.
        """
        content = Path(content) if isinstance(content, str) else content
        try:
            return self.modality.eval_input(content)
        except (DecodeError, OSError) as error:
            name = f"{content}: " if isinstance(content, Path) else ""
            raise DecodeError(f"{name}{error}") from error

    def tokens(self, inputs: Tensor) -> Tensor:
        """Features of every token: inputs [B, *S] of `transform` -> [B, N, D]."""
        features: Tensor = self.backbone(self.prepare(inputs))
        return features

    def forward(self, inputs: Tensor) -> Tensor:
        """Features of every sample, the mean over its tokens (I-JEPA): [B, *S] -> [B, D]."""
        return reduce(self.tokens(inputs), "B N D -> B D", "mean")
