"""Parameters in layers, and a learning rate that falls from each layer to the one below."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import attrs
from torch import nn

from jepa.core.model import Backbone
from jepa.core.training.optimizer import decays

_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


@attrs.frozen(kw_only=True)
class Group:
    """Parameters of one layer that are treated alike.

    Args:
        layer: from 0 to depth + 1.
        decayed: weight decay acts on them.
        scale: what the learning rate is multiplied by.
        parameters: by their names.
    """

    layer: int
    decayed: bool
    scale: float
    parameters: Mapping[str, nn.Parameter]

    def settings(self, weight_decay: float) -> dict[str, Any]:
        """What an optimizer of torch takes as a group; `scale` goes along."""
        return {
            "params": list(self.parameters.values()),
            "weight_decay": weight_decay if self.decayed else 0.0,
            "scale": self.scale,
        }


def layers_of(backbone: Backbone) -> dict[str, int]:
    """The layer of each parameter, by its name.

    Block i (`encoder.blocks.i.`) is layer i + 1. What the backbone holds before its first block
    (the tokenizer, learned positions) is layer 0, what it holds after (the last norm) is layer
    depth + 1. Where no parameter is named as a block's, all are layer depth + 1.
    """
    names = [name for name, _ in backbone.named_parameters()]
    blocks = [_BLOCK.match(name) for name in names]
    last = backbone.encoder.depth + 1
    first = next((place for place, block in enumerate(blocks) if block), 0)
    return {
        name: int(block[1]) + 1 if block else 0 if place < first else last
        for place, (name, block) in enumerate(zip(names, blocks, strict=True))
    }


def groups(model: nn.Module, backbone: Backbone, decay: float) -> list[Group]:
    """The trainable parameters of a model, by layer and by whether weight decay acts on them.

    A layer's learning rate is decay^(depth + 1 - layer) of the model's (BEiT, arXiv 2106.08254).
    Weight decay acts on matrices alone, as in training.

    Args:
        model: holds the backbone as `backbone`; the rest of it, the head, is layer depth + 1.
        backbone: of the model.
        decay: what a layer's rate is of that of the layer above.
    """
    last = backbone.encoder.depth + 1
    layers = {f"backbone.{name}": layer for name, layer in layers_of(backbone).items()}
    found: dict[tuple[int, bool], dict[str, nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            place = layers.get(name, last), decays(name, parameter)
            found.setdefault(place, {})[name] = parameter
    return [
        Group(layer=layer, decayed=decayed, scale=decay ** (last - layer), parameters=named)
        for (layer, decayed), named in sorted(found.items(), key=lambda item: item[0])
    ]
