"""Whether a call leaves the global generators as they were."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from jepa.testing.promises import expect


def states(*, of_torch: bool = True) -> dict[str, Any]:
    """The state of each global generator, by the name of its library."""
    found: dict[str, Any] = {
        "random": random.getstate(),
        "numpy.random": repr(np.random.get_state()),
    }
    if of_torch:
        found["torch"] = torch.get_rng_state().tolist()
    return found


@contextlib.contextmanager
def stirred() -> Iterator[None]:
    """Inside, states are such as no fixed seed gives, or seeding twice would look like nothing."""
    plain, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.random(), np.random.random(), torch.rand(1)
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(of_numpy)


def untouched(call: Callable[[], Any], *, of_torch: bool = True) -> None:
    """Expect that a call draws from no global generator, and seeds none.

    Args:
        call: what is looked at.
        of_torch: torch's generator may be used where False, as in training mode.
    """
    with stirred():
        before = states(of_torch=of_torch)
        call()
        after = states(of_torch=of_torch)
    changed = [name for name, state in before.items() if after[name] != state]
    expect(not changed, f"the global generator of {', '.join(changed)} was used or seeded")
