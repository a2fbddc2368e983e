"""The config of a run: the tree of typed settings, and how files and overrides become it."""

from __future__ import annotations

import io
import os
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from jepa.core import registry
from jepa.core.errors import ConfigError, PluginError, one_of
from jepa.core.settings import (
    EncoderPart,
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
    """Global batch that the learning rates are meant for; None: whatever `train.global_batch` is."""
    lr_scaling: Literal["none", "linear", "sqrt"] = "none"
    """What the learning rates are multiplied by where the global batch is not the reference:
    1, the ratio, or its square root."""
    clip_grad: float | None = attrs.field(default=None, validator=positive)
    """Greatest norm of the gradient, over all parameters; None: no clipping."""


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
    seed: int = attrs.field(default=0, validator=non_negative)
    log_every: int = attrs.field(default=10, validator=positive)
    max_bad_steps: int = attrs.field(default=20, validator=positive)
    """Steps in a row with a non-finite loss after which the run stops."""

    def __attrs_post_init__(self) -> None:
        if self.epochs is None and self.max_steps is None:
            raise ConfigError("train.epochs and train.max_steps are both absent: set one of them")


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
    observers: tuple[ObserverPart, ...] = ()


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml


def parse_yaml(text: str, where: str) -> Any:
    """Plain data of YAML 1.2 text. A duplicate key is an error.

    Raises:
        ConfigError: with the place in the text.
    """
    try:
        return _yaml().load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = (error.problem or str(error)).strip().splitlines()[0]
        raise ConfigError(f"{at}{problem}", where) from error
    except YAMLError as error:
        raise ConfigError(str(error).splitlines()[0], where) from error


def to_yaml(plain: Mapping[str, Any]) -> str:
    """YAML text of plain data, keys in their order."""
    out = io.StringIO()
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.dump(dict(plain), out)
    return out.getvalue()


def config_path(name: str) -> Path:
    """The file that `--config` means: a path, or the name of a shipped config (`image/vith14`).

    Raises:
        ConfigError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = Path(__file__).parents[1] / "configs"
    bare = name.removesuffix(".yaml").removeprefix("configs/")
    if (shipped / f"{bare}.yaml").is_file():
        return shipped / f"{bare}.yaml"
    if path.is_dir():
        raise ConfigError("this is a folder; --config takes a file", name)
    names = [str(p.relative_to(shipped).with_suffix("")) for p in shipped.rglob("*.yaml")]
    raise ConfigError(f"no such file, and no shipped config: {one_of(bare, names)}", name)


def read_file(name: str) -> tuple[dict[str, Any], str]:
    """Plain data of a config file and its path."""
    path = config_path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", str(path)) from error
    raw = parse_yaml(text, str(path))
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise ConfigError(f"found {show(raw)}, allowed: a mapping", str(path))
    return raw, str(path)


def merge(under: Any, over: Any) -> Any:
    """Layer `over` on `under`: mappings merge, a mapping that names another part replaces."""
    if isinstance(under, Mapping) and isinstance(over, str) and "name" in under:
        over = {"name": over}
    if isinstance(under, str) and isinstance(over, Mapping):
        under = {"name": under}
    if not (isinstance(under, Mapping) and isinstance(over, Mapping)):
        return over
    if "name" in under and "name" in over and under["name"] != over["name"]:
        return dict(over)
    merged = dict(under)
    for key, value in over.items():
        merged[key] = merge(under[key], value) if key in under else value
    return merged


_OVERRIDE = re.compile(r"([A-Za-z_][\w]*(?:\.\w+)*)=(.*)", re.DOTALL)


def apply_override(raw: dict[str, Any], override: str) -> dict[str, Any]:
    """Set one `dotted.key=value`; the value is YAML. List places are numbers (`masks.0.trim`).

    Raises:
        ConfigError: the text is no override, or its path leads through a value or past a list.
    """
    match = _OVERRIDE.fullmatch(override)
    if match is None:
        raise ConfigError("allowed: key=value, such as optim.lr=1e-3", f"override '{override}'")
    *steps, last = match[1].split(".")
    value = parse_yaml(match[2], f"override '{override}'")

    def place(at: Any, remaining: Sequence[str]) -> Any:
        if isinstance(at, str):
            at = {"name": at}
        if at is None:
            at = {}
        key, *rest = remaining
        if isinstance(at, list):
            if not key.isdigit() or int(key) >= len(at):
                raise ConfigError(
                    f"found place '{key}' of a list of {len(at)}", f"override '{override}'"
                )
            copy = list(at)
            copy[int(key)] = place(at[int(key)], rest) if rest else merge_leaf(at[int(key)], value)
            return copy
        if not isinstance(at, Mapping):
            raise ConfigError(
                f"'{key}' lies below {show(at)}, which is no mapping", f"override '{override}'"
            )
        new = place(at.get(key), rest) if rest else merge_leaf(at.get(key), value)
        return {**at, key: new}

    def merge_leaf(old: Any, new: Any) -> Any:
        return merge(old, new) if isinstance(old, Mapping) else new

    return typing.cast(dict[str, Any], place(raw, [*steps, last]))


def from_environment(raw: dict[str, Any]) -> dict[str, Any]:
    """`data.root` from JEPA_DATA where neither the file nor an override sets it."""
    root = os.environ.get("JEPA_DATA")
    data = raw.get("data") or {}
    if root and isinstance(data, Mapping) and data.get("root") is None:
        return {**raw, "data": {**data, "root": root}}
    return raw


def flatten(plain: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys of plain data; lists count their places."""
    if isinstance(plain, Mapping) and plain:
        items: Any = plain.items()
    elif isinstance(plain, list | tuple) and plain:
        items = enumerate(plain)
    else:
        return {prefix: plain}
    flat: dict[str, Any] = {}
    for key, value in items:
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`key: old -> new` for each dotted key in which two plain configs differ."""
    before, after = flatten(old), flatten(new)
    return [
        f"{key}: {show(before.get(key, 'absent'))} -> {show(after.get(key, 'absent'))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, ...) != after.get(key, ...)
    ]


def layer(
    raw: Mapping[str, Any], overrides: Sequence[str] = (), modality: str | None = None
) -> dict[str, Any]:
    """Plain data of a run: the modality's defaults under the file, overrides on top.

    Args:
        raw: what the file holds.
        overrides: `key=value` texts.
        modality: `--modality`; it and the file's must agree, and either may be absent.

    Raises:
        ConfigError: no modality, two that differ, or an override that cannot be applied.
    """
    plain = dict(raw)
    for override in overrides:
        plain = apply_override(plain, override)
    named = plain.get("modality")
    found = named.get("name") if isinstance(named, Mapping) else named
    if modality is not None and found is not None and modality != found:
        raise ConfigError(f"--modality {modality} and the config's modality '{found}' differ")
    if found is None:
        if modality is None:
            names = [p.name for p in registry.plugins() if p.kind == "modality"]
            raise ConfigError(
                f"modality: missing; name one of {', '.join(names)}, in the file or by --modality"
            )
        settings = named if isinstance(named, Mapping) else {}
        plain["modality"] = {**settings, "name": modality}
        found = modality
    if isinstance(found, str):
        try:
            defaults = registry.load(registry.find("modality", found)).defaults()
        except PluginError as error:
            raise ConfigError(f"modality: {error}") from error
        plain = merge(defaults, plain)
    return from_environment(plain)


def load_run(
    file: str | None, overrides: Sequence[str] = (), modality: str | None = None
) -> RunConfig:
    """The typed config of a file (a path or a shipped name) and overrides.

    Raises:
        ConfigError: with every fault at once.
    """
    raw, where = read_file(file) if file is not None else ({}, "config")
    return structure(layer(raw, overrides, modality), RunConfig, where)
