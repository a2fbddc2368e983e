"""What is measured between two log lines, kept on the device until then."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from jepa.core.training.distributed import World


class Reading(NamedTuple):
    """Scalars of an interval by name, and lines for people."""

    scalars: dict[str, float]
    notes: tuple[str, ...]


class Meters:
    """Sums of losses and counts of skipped steps; reading them is the loop's only wait."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.bad_total = torch.zeros((), device=device)
        self.bad_row = torch.zeros((), device=device)
        self.clear()

    def clear(self) -> None:
        """Begin the next interval."""
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self.taken = torch.zeros((), device=self.device)
        self.norm = torch.zeros((), device=self.device)

    def add(self, scalars: Mapping[str, Tensor], norm: Tensor, applied: Tensor) -> None:
        """One step: scalars [] to average, the gradient's norm, and whether it was taken."""
        taken = applied > 0
        for name, value in scalars.items():
            kept = torch.where(taken, value.detach().float(), 0.0)
            self.sums[name] = self.sums[name] + kept if name in self.sums else kept
        self.steps += 1
        self.taken = self.taken + applied
        self.norm = norm
        self.bad_total = self.bad_total + (1.0 - applied)
        self.bad_row = (self.bad_row + 1.0) * (1.0 - applied)

    def read(self, world: World) -> Reading:
        """Means over the interval and the processes, and the counts."""
        names = list(self.sums)
        mean = torch.stack([*self.sums.values()]) / self.taken.clamp(min=1.0)
        values = torch.cat(
            [world.mean_(mean), torch.stack([self.norm, self.bad_total, self.bad_row, self.taken])]
        ).tolist()
        *means, norm, bad_total, bad_row, taken = values
        told = {f"train/{name}": value for name, value in zip(names, means, strict=True)}
        if taken == 0:
            told = {name: float("nan") for name in told}
        counts = {
            "train/grad_norm": norm,
            "train/bad_steps": bad_total,
            "train/bad_steps_in_a_row": bad_row,
        }
        skipped = self.steps - int(taken)
        note = f"{skipped} steps with a non-finite loss or gradient were skipped"
        return Reading({**told, **counts}, (note,) if skipped else ())

    def state(self, world: World) -> dict[str, float]:
        """What a checkpoint must carry, so that the next line comes out the same.

        Every process asks for it: sums differ by process and stand under `sum/RANK/NAME`.
        """
        sums = world.gather([float(value) for value in self.sums.values()])
        return {
            "steps": float(self.steps),
            "taken": float(self.taken),
            "bad_total": float(self.bad_total),
            "bad_row": float(self.bad_row),
            **{
                f"sum/{rank}/{name}": value
                for rank, values in enumerate(sums)
                for name, value in zip(self.sums, values, strict=True)
            },
        }

    def load(self, state: Mapping[str, float], world: World) -> None:
        """Take up what `state` gave; another number of processes shares its mean."""

        def scalar(value: float) -> Tensor:
            return torch.tensor(value, device=self.device)

        self.steps, self.taken = int(state["steps"]), scalar(state["taken"])
        self.bad_total, self.bad_row = scalar(state["bad_total"]), scalar(state["bad_row"])
        sums: dict[str, list[float]] = {}
        for key, value in state.items():
            if key.startswith("sum/"):
                sums.setdefault(key.split("/", 2)[2], []).append(value)
        self.sums = {
            name: scalar(
                values[world.rank] if len(values) == world.size else sum(values) / len(values)
            )
            for name, values in sums.items()
        }


class Clock:
    """Time between two log lines: in all, and waiting for data."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin the next interval now; what was done between lines does not count."""
        self._start = time.perf_counter()
        self._waited = 0.0
        self._steps = 0

    def step(self, waited: float) -> None:
        """One step, of which `waited` seconds went by before its data were there."""
        self._steps += 1
        self._waited += waited

    def read(self, global_batch: int) -> dict[str, float]:
        """Speed since the last restart; empty if no step was made."""
        if self._steps == 0:
            return {}
        elapsed = max(time.perf_counter() - self._start, 1e-9)
        return {
            "perf/samples_per_s": self._steps * global_batch / elapsed,
            "perf/step_s": elapsed / self._steps,
            "perf/data_wait": self._waited / elapsed,
        }


def memory_gib(device: torch.device) -> float:
    """Greatest memory held so far: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)
