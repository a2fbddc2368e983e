"""Brings inputs and masks to the device, one step ahead of the step that needs them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from jepa.core.data.bad_samples import BadSample
from jepa.core.data.loading import Loaded
from jepa.core.interfaces import MaskSampler
from jepa.core.tokens import Masks
from jepa.core.training.plan import Plan

T = TypeVar("T")


class Micro(NamedTuple):
    """One micro-step on the device: inputs [b, *S] and a Masks a view."""

    inputs: Tensor
    views: tuple[Masks, ...]


class Work(NamedTuple):
    """What one step of this process needs."""

    step: int
    micros: tuple[Micro, ...]
    bad: tuple[BadSample, ...]


def feed(
    batches: Iterator[Loaded], samplers: Sequence[MaskSampler], plan: Plan, device: torch.device
) -> Generator[Work, None, None]:
    """Work for each loaded batch, prepared by a thread in the background.

    Masks are drawn there and copies to a GPU run on a stream of their own, so that the step waits
    for neither. Closing the iterator ends the thread.
    """
    mover = _Mover(device)

    def prepare(loaded: Loaded) -> Callable[[], Work]:
        micros = tuple(
            Micro(inputs, plan.masks(samplers, loaded.step, place))
            for place, inputs in enumerate(torch.split(loaded.inputs, plan.micro))
        )
        moved = mover.move(micros)
        return lambda: Work(loaded.step, moved(), loaded.bad)

    def ready_thread() -> None:
        # A thread begins on the first GPU, and what pins memory would open a context there.
        if device.type == "cuda":
            torch.cuda.set_device(device)

    with contextlib.closing(_ahead(map(prepare, batches), ready_thread)) as prepared:
        for ready in prepared:
            yield ready()


class _Mover:
    """Copies to the device without making the step wait."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        on_gpu = device.type == "cuda"
        self.stream = torch.cuda.Stream(device) if on_gpu else None  # type: ignore[no-untyped-call]

    def move(self, micros: tuple[Micro, ...]) -> Callable[[], tuple[Micro, ...]]:
        """Start the copies; the returned call gives them to the calling thread's stream."""
        stream = self.stream
        if stream is None:
            return lambda: micros
        with torch.cuda.stream(stream):
            moved = tuple(
                Micro(
                    self._copy(inputs),
                    tuple(Masks(*map(self._copy, masks)) for masks in views),
                )
                for inputs, views in micros
            )
            done = stream.record_event()

        def take() -> tuple[Micro, ...]:
            current = torch.cuda.current_stream(self.device)
            current.wait_event(done)
            for inputs, views in moved:
                for tensor in (inputs, *(part for masks in views for part in masks)):
                    # The allocator must not hand the memory on while the step still reads it.
                    tensor.record_stream(current)
            return moved

        return take

    def _copy(self, tensor: Tensor) -> Tensor:
        pinned = tensor if tensor.is_pinned() else tensor.pin_memory()
        return pinned.to(self.device, non_blocking=True)


class _End(NamedTuple):
    error: BaseException | None


def _ahead(items: Iterator[T], begin: Callable[[], None]) -> Generator[T, None, None]:
    """The same items, each made while the one before it is in use, by a thread after `begin`."""
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=1)
    closed = threading.Event()

    def put(item: T | _End) -> None:
        while not closed.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            begin()
            for item in items:
                put(item)
                if closed.is_set():
                    return
        # Whatever the thread meets is raised again where the items are used.
        except BaseException as error:
            put(_End(error))
        else:
            put(_End(None))

    thread = threading.Thread(target=work, name="jepa-feed", daemon=True)
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        closed.set()
        thread.join()
