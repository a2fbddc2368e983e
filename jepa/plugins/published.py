"""Published I-JEPA checkpoints under our names: a rename, and a check that positions agree.

Their names are timm's ViT names behind `module.` (recipe: Official checkpoints). Positions are
fixed, so that they are compared and left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from jepa.core.errors import CheckpointError, one_of
from jepa.plugins.layers import Positions

_PREFIX = "module."
_BACKBONE = {
    "patch_embed.proj": "tokenizer.proj",
    "blocks": "encoder.blocks",
    "norm": "encoder.norm",
}
_PREDICTOR = {
    name: name
    for name in (
        "predictor_embed",
        "mask_token",
        "predictor_blocks",
        "predictor_norm",
        "predictor_proj",
    )
}
_TOLERANCE = 1e-5


def backbone_weights(state: Mapping[str, Tensor], positions: Positions) -> dict[str, Tensor]:
    """The weights of a published `encoder` or `target_encoder`, as `Backbone.state_dict` has them.

    Args:
        state: tensors by published name.
        positions: of the encoder that will take the weights up.

    Raises:
        CheckpointError: a name that is not a backbone's, or positions that are not the encoder's.
    """
    return _renamed(state, _BACKBONE, "pos_embed", positions)


def predictor_weights(state: Mapping[str, Tensor], positions: Positions) -> dict[str, Tensor]:
    """The weights of a published `predictor`, as `ViTPredictor.state_dict` has them.

    Arguments and errors are those of `backbone_weights`, with the predictor's positions.
    """
    return _renamed(state, _PREDICTOR, "predictor_pos_embed", positions)


def _renamed(
    state: Mapping[str, Tensor], names: Mapping[str, str], table: str, positions: Positions
) -> dict[str, Tensor]:
    renamed = {}
    for published, tensor in state.items():
        name = published.removeprefix(_PREFIX)
        if name == table:
            _check_positions(name, tensor, positions)
            continue
        prefix = next((p for p in names if name == p or name.startswith(f"{p}.")), None)
        if prefix is None:
            raise CheckpointError(f"published weights: {one_of(name, [*names, table])}")
        renamed[names[prefix] + name.removeprefix(prefix)] = tensor
    return renamed


def _check_positions(name: str, published: Tensor, positions: Positions) -> None:
    """Compare a published table [1, N, D] with the one that our coordinates give."""
    grid = positions.sincos.grid
    ours = positions(grid.coords()[None])
    if published.shape != ours.shape:
        raise CheckpointError(
            f"published weights: {name} is {list(published.shape)}, allowed: {list(ours.shape)}, "
            f"for the grid {grid} and the width {positions.sincos.dim}"
        )
    if not torch.allclose(published.to(ours), ours, rtol=0.0, atol=_TOLERANCE):
        raise CheckpointError(
            f"published weights: {name} holds other positions than position_order "
            f"{list(positions.sincos.order or grid.axes)} gives; I-JEPA's is [x, y]"
        )
