"""What is refused before the first run starts, every fault at its place in the sweep's file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import final

import attrs
import torch

from jepa.ablation.settings import AblationConfig
from jepa.ablation.strangers import StrangerError, strangers
from jepa.ablation.variants import Draft, override
from jepa.core.build import build
from jepa.core.config import RunConfig, apply_overrides, flatten, load_run
from jepa.core.errors import ConfigError, Fault, JepaError
from jepa.core.settings import unstructure
from jepa.core.training.checkpoint import Checkpoint, newest_valid
from jepa.core.training.measuring import unmeasured
from jepa.core.training.plan import Plan
from jepa.core.training.resume import config_differences

_LENGTH = ("train.epochs=null", "train.max_steps=1")
"""Stands in for the budget, which the steps of a batch must be known for."""

_RESERVED = {
    "train.seed": "seeds",
    "train.max_steps": "budget",
    "train.epochs": "budget",
}


@final
class Complaints:
    """Faults of the variants, each told once, at the value that brings it.

    Args:
        config: of the sweep.
        drafts: every variant.
        common: `key=value` texts of every run.
    """

    def __init__(
        self, config: AblationConfig, drafts: Sequence[Draft], common: Sequence[str]
    ) -> None:
        self._config, self._drafts, self._common = config, drafts, common
        self._found: dict[tuple[str, str], tuple[Fault, list[Draft]]] = {}

    def add(self, draft: Draft, error: ConfigError) -> None:
        """Keep what was found wrong with a variant."""
        for fault in error.faults:
            self._found.setdefault(self._place(draft, fault), (fault, []))[1].append(draft)

    @contextlib.contextmanager
    def of(self, draft: Draft) -> Iterator[None]:
        """Keep what is found wrong with a variant inside, and go on behind it."""
        try:
            yield
        except ConfigError as error:
            self.add(draft, error)
        except JepaError as error:
            self.add(draft, ConfigError(str(error)))

    def told(self) -> list[Fault]:
        """Every fault; what is wrong with all variants is the base's, or that of an override."""
        return [
            Fault(where, message)
            for (place, message), (fault, drafts) in self._found.items()
            for where in ([place] if place else self._places(fault, drafts))
        ]

    def _places(self, fault: Fault, drafts: Sequence[Draft]) -> list[str]:
        """Where a fault lies that names no key of the variants that have it."""
        if len(drafts) == len(self._drafts):
            texts = [text for text in self._common if _is_of(fault, text.partition("=")[0])]
            return [f"overrides '{texts[-1]}'" if texts else f"base {self._config.base}"]
        if len(self._config.vary) == 1:  # nothing else tells them from those that are sound
            return [_at(key, draft) for draft in drafts for key in draft.places]
        return [f"variant {min(draft.variant.label for draft in drafts)}"]

    def _place(self, draft: Draft, fault: Fault) -> tuple[str, str]:
        """Place and message; no place where it is of no key of the sweep's file."""
        if fault.path.strip("'") in self._common:
            return "overrides", str(fault)
        if fault.path.split(".")[0] == "evaluate":
            return fault.path, fault.message
        for related in (_is_at, _is_above):
            for key, value in draft.variant.settings.items():
                if fault.path == f"'{override(key, value)}'":
                    return _at(key, draft), fault.message
                if related(fault.path, key):
                    return _at(key, draft), str(fault)
        return "", str(fault)


def _at(key: str, draft: Draft) -> str:
    return f"vary.{key}[{draft.places[key]}]"


def _is_at(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _is_above(path: str, key: str) -> bool:
    """As that of a fault which the key's first steps bring: `mask` of `mask.0`."""
    return path != "" and key.startswith(f"{path}.")


def _is_of(fault: Fault, key: str) -> bool:
    """Whether an override of this key brings a fault; above it stand steps that it misspells."""
    misspelt = fault.message.startswith("unknown key")
    return _is_at(fault.path, key) or (misspelt and _is_above(fault.path, key))


def check_reserved(config: AblationConfig, common: Sequence[str]) -> list[Fault]:
    """Keys that the sweep itself sets, in `vary` or among the overrides."""
    faults = []
    for key, values in config.vary.items():
        for place, value in enumerate(values):
            for name in sorted(_RESERVED.keys() & flatten({key: value}).keys()):
                faults.append(Fault(f"vary.{key}[{place}]", _reserved(name)))
    for text in common:
        with contextlib.suppress(ConfigError):  # told where the variants are loaded
            for name in sorted(_RESERVED.keys() & flatten(apply_overrides({}, [text])).keys()):
                faults.append(Fault(f"overrides '{text}'", _reserved(name)))
    return faults


def _reserved(name: str) -> str:
    return f"{name} is set by the sweep; write `{_RESERVED[name]}` instead"


def load_variant(config: AblationConfig, texts: Sequence[str]) -> RunConfig:
    """The typed config of a variant with the first seed, its length set by the budget.

    Args:
        config: of the sweep.
        texts: `key=value` of the variant.

    Raises:
        ConfigError: with every fault of it.
    """
    found = load_run(config.base, [*texts, *_LENGTH])
    batch, budget = found.train.global_batch, config.budget
    steps = budget.steps or (budget.samples or 0) // batch
    if not steps:
        told = f"found {budget.samples} samples, allowed: at least a batch of {batch}"
        raise ConfigError(Fault("budget", told))
    return attrs.evolve(
        found, train=attrs.evolve(found.train, max_steps=steps, seed=config.seeds[0])
    )


def check_parts(config: RunConfig, processes: int) -> None:
    """Build a run's parts without memory for them, and share out its steps.

    Raises:
        JepaError: parts that do not fit together, or a batch that does not divide.
    """
    # A part that reads its tensors cannot be built so; its own run will say what is wrong.
    with contextlib.suppress(StrangerError), strangers(), torch.device("meta"):
        built = build(config)
        Plan(config, 0, processes, config.train.global_batch).check_groups(built.samplers)


def twins(drafts: Sequence[Draft], configs: Mapping[str, RunConfig]) -> list[Fault]:
    """Variants whose config another has already."""
    seen: list[tuple[str, dict[str, object]]] = []
    faults = []
    for draft in drafts:
        label = draft.variant.label
        if label not in configs:
            continue
        plain = unstructure(configs[label])
        same = next((name for name, other in seen if other == plain), None)
        if same is not None:
            at = ", ".join(_at(key, draft) for key in draft.places)
            faults.append(Fault(at, f"variant {label} has the same config as {same}"))
        seen.append((label, plain))
    return faults


def check_folder(folder: Path, config: RunConfig) -> list[Fault]:
    """Whether a run may train into its folder, or go on there."""
    try:
        found, _ = newest_valid(folder / "checkpoints")
        changed = _differences(found, config) if found else []
    except JepaError as error:
        return [Fault(str(folder), str(error))]
    if found and not changed and found.step > (config.train.max_steps or 0):
        changed = [f"train.max_steps: {found.step} -> {config.train.max_steps}"]
    if not found or not changed:
        return []
    told = f"holds a run of another config (step {found.step}): {'; '.join(changed)}"
    return [Fault(str(folder), f"{told}; choose another --output, or remove that folder")]


def _differences(found: Checkpoint, config: RunConfig) -> list[str]:
    """As for resuming; what the plan leaves for the run to measure is no difference."""
    return config_differences(found, unstructure(config), unmeasured(config))
