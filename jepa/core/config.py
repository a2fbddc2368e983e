"""The config of a run: the tree of typed settings, and how files and overrides become it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from jepa.core import registry
from jepa.core.errors import ConfigError, Fault, PluginError
from jepa.core.overrides import apply_override, apply_overrides, differences, flatten, merge
from jepa.core.parts import reads_root, stretches_refused
from jepa.core.settings import (
    EncoderPart,
    FieldError,
    MaskSamplerPart,
    ModalityPart,
    ObjectivePart,
    ObserverPart,
    PredictorPart,
    RegularizerPart,
    SourcePart,
    TargetUpdaterPart,
    TokenizerPart,
    check,
    fraction,
    non_negative,
    positive,
    show,
    structure,
)
from jepa.core.yamlfile import config_path, parse_yaml, read_file, to_yaml

__all__ = [
    "CheckpointConfig",
    "DataConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "TrainConfig",
    "apply_override",
    "apply_overrides",
    "config_path",
    "differences",
    "flatten",
    "from_environment",
    "layer",
    "load_run",
    "merge",
    "parse_yaml",
    "read_file",
    "takes_root",
    "to_yaml",
]


@attrs.frozen(kw_only=True)
class ModelConfig:
    """The parts of the model."""

    tokenizer: TokenizerPart
    encoder: EncoderPart
    predictor: PredictorPart
    target: TargetUpdaterPart
    objective: ObjectivePart
    regularizers: tuple[RegularizerPart, ...] = ()
    dim: int | None = attrs.field(default=None, validator=positive)
    """Width D of tokens; None: what the encoder's preset implies."""


@attrs.frozen(kw_only=True)
class DataConfig:
    """Which samples, and how they are loaded."""

    source: SourcePart
    root: Path | None = None
    """Folder or file of the samples; JEPA_DATA in the environment stands in for it."""
    split: str | None = None
    workers: int | Literal["auto"] = attrs.field(
        default="auto", validator=check("0 or more, or auto", lambda v: v == "auto" or v >= 0)
    )
    """Worker processes of each training process; auto: the cores at hand, at most 8."""
    prefetch: int = attrs.field(default=4, validator=positive)
    """Batches that each worker holds ready."""
    max_bad_fraction: float = attrs.field(default=0.01, validator=fraction)
    """Share of undecodable samples above which the run stops."""
    cache: Path | None = None
    """Folder for indices; None: JEPA_CACHE, or the user's cache folder."""

    def __attrs_post_init__(self) -> None:
        if self.root is not None and not reads_root(self.source):
            raise FieldError(
                "root",
                f"found {show(str(self.root))}, but the source '{self.source.name}' brings its own "
                "samples; name another source, such as data.source=folder, or leave data.root out",
            )


@attrs.frozen(kw_only=True)
class OptimConfig:
    """AdamW and its schedules (recipe: I-JEPA, section Schedules)."""

    lr: float = attrs.field(default=1e-3, validator=positive)
    """Reference learning rate, at `reference_batch` samples a step."""
    start_lr: float = attrs.field(default=2e-4, validator=non_negative)
    final_lr: float = attrs.field(default=1e-6, validator=non_negative)
    warmup_epochs: float = attrs.field(default=0.0, validator=non_negative)
    weight_decay: float = attrs.field(default=0.04, validator=non_negative)
    final_weight_decay: float = attrs.field(default=0.4, validator=non_negative)
    betas: tuple[float, float] = attrs.field(
        default=(0.9, 0.999),
        validator=check("two numbers in [0, 1)", lambda v: min(v) >= 0 and max(v) < 1),
    )
    eps: float = attrs.field(default=1e-8, validator=positive)
    reference_batch: int | None = attrs.field(default=None, validator=positive)
    """Global batch that the learning rates are meant for; None: that of `train.global_batch`."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """What the learning rates are multiplied by where the global batch is not the reference:
    1, the ratio, or its square root."""
    clip_grad: float | None = attrs.field(default=None, validator=positive)
    """Greatest norm of the gradient; None: no clipping."""
    clip_of: Literal["whole", "parts"] = "whole"
    """Whose norm is clipped: the gradient's over all parameters, or each part's on its own, the
    encoder with its tokenizer being one and the predictor another (V-JEPA)."""
    clip_from_epoch: float = attrs.field(default=0.0, validator=non_negative)
    """Epochs that go by without clipping."""


@attrs.frozen(kw_only=True)
class TrainConfig:
    """How long, how many at a time, and on what."""

    global_batch: int = attrs.field(validator=positive)
    """Samples of one optimizer step over all processes and micro-steps."""
    epochs: float | None = attrs.field(default=None, validator=positive)
    """Length of the schedules; None: `max_steps`."""
    max_steps: int | None = attrs.field(default=None, validator=positive)
    """Stop after this many steps; the schedules keep the length that `epochs` gives them."""
    steps_per_epoch: int | None = attrs.field(default=None, validator=positive)
    """None: as many whole batches as the data set holds."""
    schedule_scale: float = attrs.field(default=1.0, validator=positive)
    """Stretches schedules beyond the end of training (the field's ipe_scale)."""
    accumulate: int = attrs.field(default=1, validator=positive)
    """Micro-steps that one step is divided into, on each process."""
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    compile: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    """On CUDA: only deterministic kernels, so that resuming is exact to the bit."""
    seed: int = attrs.field(
        default=0, validator=check("0 or more, below 2^63", lambda v: 0 <= v < 2**63)
    )
    log_every: int = attrs.field(default=10, validator=positive)
    max_bad_steps: int = attrs.field(default=20, validator=positive)
    """Steps in a row with a non-finite loss after which the run stops."""

    def __attrs_post_init__(self) -> None:
        if self.epochs is None and self.max_steps is None:
            raise ConfigError("epochs and max_steps are both absent: set one of them")


@attrs.frozen(kw_only=True)
class CheckpointConfig:
    """When checkpoints are written and which are kept."""

    every: int | None = attrs.field(default=None, validator=positive)
    """Steps between checkpoints; None: once an epoch. The last step always writes one."""
    keep_last: int = attrs.field(default=2, validator=positive)
    keep_every: int | None = attrs.field(default=None, validator=positive)
    """Besides the last, keep those whose step is a multiple of this."""


@attrs.frozen(kw_only=True)
class RunConfig:
    """Everything that determines a run."""

    modality: ModalityPart
    data: DataConfig
    model: ModelConfig
    masks: tuple[MaskSamplerPart, ...] = attrs.field(
        validator=check("at least one mask sampler", lambda v: len(v) > 0)
    )
    train: TrainConfig
    optim: OptimConfig = attrs.field(factory=OptimConfig)
    checkpoint: CheckpointConfig = attrs.field(factory=CheckpointConfig)
    observers: tuple[ObserverPart, ...] = attrs.field(
        default=(),
        validator=check("each observer once", lambda v: len({part.plugin for part in v}) == len(v)),
    )

    def __attrs_post_init__(self) -> None:
        refusal = stretches_refused(self.data.source, self.modality.cls)
        if refusal is not None:
            raise FieldError("data.source", refusal)


def from_environment(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`data.root` from JEPA_DATA where nothing else sets it and the source reads it."""
    root = os.environ.get("JEPA_DATA")
    data = {} if raw.get("data") is None else raw["data"]
    if not (root and isinstance(data, Mapping) and data.get("root") is None):
        return dict(raw)
    return {**raw, "data": {**data, "root": root}} if takes_root(data.get("source")) else dict(raw)


def takes_root(source: Any) -> bool:
    """Whether the source that plain settings name reads `data.root`; wrong ones fail later."""
    try:
        return reads_root(structure(source, SourcePart))
    except ConfigError:
        return True


def layer(
    raw: Mapping[str, Any], overrides: Sequence[str] = (), modality: str | None = None
) -> dict[str, Any]:
    """Plain settings of a run: the modality's defaults, the file over them, overrides on top.

    Args:
        raw: what the file holds.
        overrides: `key=value` texts.
        modality: `--modality`; it and the file's must agree, and either may be absent.

    Raises:
        ConfigError: no modality, two that differ, or an override that cannot be applied.
    """
    # Overrides may name the modality, and its defaults stand under them all.
    chosen = [text for text in overrides if text.startswith(("modality=", "modality."))]
    name = _modality(apply_overrides(raw, chosen).get("modality"), modality)
    try:
        defaults = registry.load(registry.find("modality", name)).defaults()
    except PluginError as error:
        raise ConfigError(Fault("modality", str(error))) from error
    settings = apply_overrides(merge(defaults, raw), overrides)
    settings["modality"] = merge({"name": name}, settings.get("modality") or {})
    return from_environment(settings)


def _modality(found: Any, asked: str | None) -> str:
    """The name of the modality, from the config and from `--modality`."""
    name = found.get("name") if isinstance(found, Mapping) else found
    if name is None and asked is None:
        names = ", ".join(registry.names("modality"))
        raise ConfigError(Fault("modality", f"missing; name it here or by --modality: {names}"))
    if name is not None and not isinstance(name, str):
        raise ConfigError(Fault("modality", f"found {show(name)}, allowed: a name"))
    if name is not None and asked is not None and name != asked:
        raise ConfigError(Fault("modality", f"found '{name}', but --modality says '{asked}'"))
    return str(name or asked)


def load_run(
    file: str | None, overrides: Sequence[str] = (), modality: str | None = None
) -> RunConfig:
    """The typed config of a file (a path or a shipped name) and overrides.

    Raises:
        ConfigError: with every fault at once.
    """
    raw, where = read_file(file) if file is not None else ({}, "config")
    if file is not None and overrides:
        where = f"{where} and key=value"
    try:
        settings = layer(raw, overrides, modality)
    except ConfigError as error:
        raise ConfigError(
            error.faults, where if error.where == "config" else error.where
        ) from error
    return structure(settings, RunConfig, where)
