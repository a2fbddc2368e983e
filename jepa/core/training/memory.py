"""Running out of memory, said so that people know what to lower."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch

from jepa.core.errors import TrainingError
from jepa.core.training.plan import Plan

_CPU_WORDS = ("not enough memory", "can't allocate memory", "DefaultCPUAllocator")


@contextlib.contextmanager
def advice(plan: Plan) -> Iterator[None]:
    """In a step: turn an allocator's error into one that says what to lower.

    Raises:
        TrainingError: memory is out, on a GPU or on the CPU.
    """
    with _told(lambda: _explained(plan)):
        yield


@contextlib.contextmanager
def whole_model() -> Iterator[None]:
    """The same while the model, its target and the optimizer's two moments are made."""
    with _told(
        lambda: TrainingError(
            "out of memory before the first step: weights, target, gradients and two moments do "
            "not fit. Try a smaller model.encoder.preset (or depth and model.dim); `jepa check` "
            "estimates what a config needs"
        )
    ):
        yield


@contextlib.contextmanager
def _told(explained: Callable[[], TrainingError]) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise explained() from error
    except RuntimeError as error:
        # The CPU's allocator has no error class of its own.
        if any(words in str(error) for words in _CPU_WORDS):
            raise explained() from error
        raise


def _explained(plan: Plan) -> TrainingError:
    more = 2 * plan.config.train.accumulate
    while plan.local % more and more < plan.local:
        more += 1
    smaller = (
        f"train.accumulate={more} (micro-steps of {plan.local // more}, the same global batch), "
        if plan.local % more == 0 and more <= plan.local
        else ""
    )
    return TrainingError(
        f"out of memory in a micro-step of {plan.micro} samples. Try {smaller}"
        "model.encoder.activation_checkpointing=true, train.precision=bf16, more processes, "
        "or a smaller train.global_batch; `jepa check` estimates what a config needs"
    )
