"""From the settings of a sweep to its runs, each an ordinary `jepa train` and `jepa eval`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from jepa.ablation import checks
from jepa.ablation.commands import eval_command, train_command
from jepa.ablation.settings import AblationConfig, EvaluateConfig, find_base
from jepa.ablation.variants import Draft, Variant, draft, slugs
from jepa.core.config import RunConfig
from jepa.core.errors import ConfigError
from jepa.core.parts import Part

__all__ = ["Run", "Samples", "Sweep", "Variant", "plan", "shell"]


@attrs.frozen(kw_only=True)
class Samples:
    """Fingerprints of what a run is trained on, and of what protocols fit to and score on."""

    trained: str
    train: str
    test: str


@attrs.frozen(kw_only=True)
class Run:
    """One variant with one seed.

    Args:
        variant: that is trained.
        seed: `train.seed`.
        folder: the run's own, as `jepa train --output` takes it.
        config: of the run.
        steps: optimizer steps that it trains for.
        baselines: whether it measures the untrained network and the raw content too, where all
            goes well: the first of those that share them. Where it fails, another one does.
        measure: the protocols.
        evaluate: the samples that are measured on.
        train_command: arguments after `jepa`.
        samples: as they are now; None where nobody looked.
    """

    variant: Variant
    seed: int
    folder: Path
    config: RunConfig
    steps: int
    baselines: bool
    measure: tuple[Part, ...]
    evaluate: EvaluateConfig
    train_command: tuple[str, ...]
    samples: Samples | None = None

    @property
    def name(self) -> str:
        """For people: `label/seed0`."""
        return f"{self.variant.label}/seed{self.seed}"

    @property
    def eval_command(self) -> tuple[str, ...]:
        """Arguments after `jepa` that measure it."""
        return self.measuring(self.measure, baselines=self.baselines)

    def measuring(self, protocols: Sequence[Part], *, baselines: bool) -> tuple[str, ...]:
        """Arguments after `jepa` that measure it by these protocols."""
        return eval_command(self.config, self.folder, protocols, self.evaluate, baselines=baselines)

    @property
    def start(self) -> tuple[object, ...]:
        """What its untrained network depends on, besides the seed."""
        return (*self.content, self.config.model.encoder, self.config.model.dim)

    @property
    def content(self) -> tuple[object, ...]:
        """What its raw content depends on: the samples, and how they are cut into tokens."""
        return self.config.modality, self.config.data, self.config.model.tokenizer

    def shares_baselines(self, other: Run) -> bool:
        """Whether the untrained network and the raw content of both are the same."""
        return self.seed == other.seed and self.start == other.start

    @property
    def log(self) -> Path:
        """What the commands print."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def failure(self) -> Path:
        """Why the last try failed; absent where it did not."""
        return self.folder.with_name(f"{self.folder.name}.failed")


@attrs.frozen(kw_only=True)
class Sweep:
    """All runs of a sweep, in the order in which they are made: seeds outermost.

    Args:
        config: of the sweep.
        folder: of the sweep.
        variants: in the order of the file.
        runs: of all variants and seeds.
        reference: the variant that others are compared with.
        overrides: `key=value` texts for every run besides those of the config.
        command: arguments after `jepa` that make this sweep; empty where no command made it.
    """

    config: AblationConfig
    folder: Path
    variants: tuple[Variant, ...]
    runs: tuple[Run, ...]
    reference: Variant
    overrides: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def shell(command: Sequence[str]) -> str:
    """A command as a line that a shell takes: `jepa train ...`."""
    return shlex.join(["jepa", *command])


def plan(config: AblationConfig, folder: Path, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep, after everything that can be refused without data was looked at.

    Args:
        config: of the sweep.
        folder: of the sweep; read, not written.
        overrides: `key=value` texts for every run, after the config's own.

    Raises:
        ConfigError: with every fault at once, each at its place in the sweep's file.
    """
    config = attrs.evolve(config, base=find_base(config.base))
    common = (*config.overrides, *overrides)
    drafts, faults = draft(config)
    reserved = checks.check_reserved(config, common)
    configs = {}
    complaints = checks.Complaints(config, drafts, common)
    for each in drafts:
        with complaints.of(each):
            found = checks.load_variant(config, [*common, *each.texts])
            configs[each.variant.label] = found
            checks.check_parts(found, config.nproc or 1)
    # What the sweep sets itself makes variants alike, which is not their fault.
    faults += [*reserved, *complaints.told()]
    faults += [] if reserved else checks.twins(drafts, configs)
    if not faults:
        sweep = _sweep(config, folder, drafts, configs, common)
        for run in sweep.runs:
            faults += checks.check_folder(run.folder, run.config)
        if not faults:
            return attrs.evolve(sweep, overrides=tuple(overrides))
    raise ConfigError(faults, "the sweep")


def _sweep(
    config: AblationConfig,
    folder: Path,
    drafts: Sequence[Draft],
    configs: Mapping[str, RunConfig],
    common: Sequence[str],
) -> Sweep:
    variants = tuple(each.variant for each in drafts)
    folders = slugs([variant.label for variant in variants])
    runs: list[Run] = []
    for seed in config.seeds:
        for each, slug in zip(drafts, folders, strict=True):
            found = _with_seed(configs[each.variant.label], seed)
            place = folder / "runs" / slug / f"seed{seed}"
            texts = [*_from_environment(found, common), *common, *each.texts]
            run = Run(
                variant=each.variant,
                seed=seed,
                folder=place,
                config=found,
                steps=found.train.max_steps or 0,
                baselines=True,
                measure=config.measure,
                evaluate=config.evaluate,
                train_command=train_command(config, found, place, texts),
            )
            first = not any(run.shares_baselines(earlier) for earlier in runs)
            runs.append(attrs.evolve(run, baselines=first))
    by_label = {variant.label: variant for variant in variants}
    reference = variants[0] if config.reference is None else by_label[config.reference]
    return Sweep(
        config=config, folder=folder, variants=variants, runs=tuple(runs), reference=reference
    )


def _with_seed(config: RunConfig, seed: int) -> RunConfig:
    return attrs.evolve(config, train=attrs.evolve(config.train, seed=seed))


def _from_environment(config: RunConfig, common: Sequence[str]) -> list[str]:
    """The place of the samples where JEPA_DATA says it: commands must stand for themselves."""
    said = any(text.startswith("data.root=") for text in common)
    if said or config.data.root is None or "JEPA_DATA" not in os.environ:
        return []
    return [f"data.root={config.data.root}"]
