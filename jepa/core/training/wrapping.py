"""What stands around the model in training: compiled blocks, and DDP on several processes."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

from torch import nn
from torch.nn.parallel import DistributedDataParallel

from jepa.core.training.distributed import World


def wrap(model: nn.Module, world: World, *, compiled: bool) -> nn.Module:
    """The module that the training step calls.

    DDP lays its buckets out anew after its first pass, and from three processes on the layout
    decides in which order gradients are summed. So no step may be a first pass, or a resumed run
    would differ from an uninterrupted one in the last bits: rehearse a pass before.

    Args:
        model: on its device.
        world: one process needs no wrapping.
        compiled: compile the model's blocks, in place.
    """
    if compiled:
        compile_blocks(model)
    if world.size == 1:
        return model
    return DistributedDataParallel(
        model,
        device_ids=[world.device] if world.device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def apart(wrapped: nn.Module) -> AbstractContextManager[None]:
    """Inside, gradients add up on each process without meeting those of others."""
    if isinstance(wrapped, DistributedDataParallel):
        return wrapped.no_sync()
    return contextlib.nullcontext()


def compile_blocks(model: nn.Module) -> None:
    """Compile the repeated blocks of a model, in place.

    Block by block, since all blocks share one piece of compiled code, and with symbolic sizes,
    since K and T change from batch to batch.
    """
    for module in model.modules():
        if isinstance(module, nn.ModuleList):
            for block in module:
                block.compile(dynamic=True)
