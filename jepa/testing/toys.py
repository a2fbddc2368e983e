"""A run of a second: arrays in memory, built-in parts by name, and what watches it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import attrs
import numpy as np
import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from jepa.core.build import Built, build
from jepa.core.config import RunConfig
from jepa.core.data.held_out import HeldOut
from jepa.core.data.source import Item, Place, Source
from jepa.core.errors import DataError, DecodeError
from jepa.core.interfaces import InputSpec
from jepa.core.modality import Content, Modality
from jepa.core.parts import Part
from jepa.core.registry import DISTRIBUTION, Plugin
from jepa.core.rng import Rng, SampleRng
from jepa.core.settings import structure
from jepa.core.training.observer import FixedBatch, RunView
from jepa.testing.setup import normals, uniforms

SHAPE = (2, 16)
CLASSES = ("falls", "rises")
_SAMPLES, _SLOPE = 48, 2.0


@attrs.frozen(kw_only=True)
class NoConfig:
    """Nothing to set."""


@final
class ToyModality(Modality):
    """Arrays [2, 16] of floats as they are, on an axis t."""

    Config = NoConfig
    extensions = frozenset({".npy"})

    def __init__(self, config: NoConfig) -> None:
        self.config = config

    @classmethod
    def defaults(cls) -> Mapping[str, Any]:
        """None: `toy_config` has all of it."""
        return {}

    @property
    def spec(self) -> InputSpec:
        """[2, 16] on (t)."""
        return InputSpec(SHAPE, ("t",))

    def train_input(self, content: Content, rng: SampleRng) -> Tensor:
        """The array, turned about at random."""
        return self.eval_input(content) * (1.0 if rng.uniforms(1)[0] < 0.5 else 0.9)

    def eval_input(self, content: Content) -> Tensor:
        """The array: float32 [2, 16]."""
        if not isinstance(content, np.ndarray) or content.shape != SHAPE:
            raise DecodeError(f"no array of shape {list(SHAPE)}")
        return torch.from_numpy(content).float()

    def device_transform(self) -> nn.Module:
        """Nothing to do."""
        return nn.Identity()

    def preview(self, inputs: Tensor) -> Tensor:
        """Values as grey stripes: uint8 [B, 8, 16, 3]."""
        grey = (inputs.mean(dim=1).sigmoid() * 255).to(torch.uint8)
        return repeat(grey, "B t -> B h t c", h=8, c=3)

    def baseline(self, inputs: Tensor) -> Tensor:
        """The values: [B, 32]."""
        return rearrange(inputs, "B C t -> B (C t)")


@final
class ToySource(Source):
    """Noise that rises or falls, the class; splits `train` and `test` differ."""

    Config = NoConfig
    takes_root = False

    def __init__(self, config: NoConfig, place: Place) -> None:
        if place.split not in (None, "train", "test"):
            raise DataError(f"data.split: found '{place.split}', allowed: train, test")
        self._seed = 2 if place.split == "test" else 1
        self._inputs, self._labels = toy_inputs(_SAMPLES, self._seed)

    def __len__(self) -> int:
        return len(self._labels)

    def item(self, index: int) -> Item:
        """One array with its label."""
        return Item(self._inputs[index].numpy(), f"toy {index}", int(self._labels[index]))

    @property
    def classes(self) -> tuple[str, ...]:
        """`falls` and `rises`."""
        return CLASSES

    def labels(self) -> np.ndarray | None:
        """Labels [48] int64."""
        return self._labels.numpy()

    def fingerprint(self) -> str:
        """The seed."""
        return f"toy-{self._seed}"


@final
class Given(Source):
    """Contents as they are, without labels."""

    Config = NoConfig
    takes_root = False

    def __init__(self, contents: Sequence[Content]) -> None:
        self._contents = contents

    def __len__(self) -> int:
        return len(self._contents)

    def item(self, index: int) -> Item:
        """One of them."""
        return Item(self._contents[index], f"content {index}")

    @property
    def classes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def labels(self) -> np.ndarray | None:
        """None."""
        return None

    def fingerprint(self) -> str:
        """How many there are."""
        return f"given-{len(self)}"


def toy_inputs(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Samples [n, 2, 16] of noise on a slope, and whether it rises: labels [n] int64."""
    labels = (torch.arange(n) % 2)[(uniforms(n, seed=seed)).argsort()]
    slope = torch.linspace(-1, 1, SHAPE[1]) * _SLOPE
    signs = rearrange(2 * labels - 1, "n -> n 1 1")
    return normals(n, *SHAPE, seed=seed) * 0.5 + slope * signs, labels


def _toy(kind: str, cls: type[Any]) -> Part:
    """A part of this file, as a config that named it would hold it."""
    plugin = Plugin(kind, "toy", f"{cls.__module__}:{cls.__name__}", DISTRIBUTION, "")
    return Part(kind, "toy", NoConfig(), plugin)


_VIT = {"name": "vit", "depth": 2, "heads": 2, "init_std": 0.1}
_SETTINGS: Mapping[str, Any] = {
    "model": {
        "dim": 16,
        "tokenizer": {"name": "patch", "size": [2], "init_std": None},
        "encoder": _VIT,
        "predictor": {**_VIT, "depth": 1, "dim": 16},
        "target": "ema",
        "objective": "smooth_l1",
    },
    "masks": ["random"],
    "train": {
        "global_batch": 8,
        "max_steps": 4,
        "steps_per_epoch": 4,
        "device": "cpu",
        "precision": "fp32",
        "log_every": 1,
    },
}
"""Built-in parts that know no modality, found by name."""


def toy_config() -> RunConfig:
    """The config of a small run over `ToyModality` and `ToySource`."""
    fields = attrs.fields_dict(attrs.resolve_types(RunConfig))
    data = structure({"source": "arrays", "workers": 0}, fields["data"].type)  # type: ignore[arg-type]
    made: dict[str, Any] = {
        name: structure(value, fields[name].type, name)  # type: ignore[arg-type]
        for name, value in _SETTINGS.items()
    }
    return RunConfig(
        modality=_toy("modality", ToyModality),
        data=attrs.evolve(data, source=_toy("source", ToySource)),
        **made,
    )


def toy_run(output: Path, start_step: int = 0) -> tuple[RunView, Built]:
    """A run as observers see it, with weights that are the same each time.

    Args:
        output: its folder, which exists.
        start_step: steps that were done before, as after a resume.
    """
    config = toy_config()
    built = build(config)
    batch = config.train.global_batch
    inputs, _ = toy_inputs(batch, 1)
    views = tuple(sampler.sample(batch, Rng(0, 0, batch)) for sampler in built.samplers)
    place = Place(root=None, split="train", extensions=frozenset(), cache=output)
    source, held = (ToySource(NoConfig(), attrs.evolve(place, split=s)) for s in ("train", "test"))
    run = RunView(
        config=config,
        output=output,
        model=built.model.train(),
        modality=built.modality,
        source=source,
        held_out=lambda: HeldOut(held, "test"),
        fixed_batch=lambda: FixedBatch(inputs, views),
        start_step=start_step,
        total_steps=4,
        steps_per_epoch=4,
        global_batch=batch,
        device=torch.device("cpu"),
        autocast=contextlib.nullcontext,
    )
    return run, built


def mean_tokens(tokens: Tensor) -> Tensor:
    """[n, N, D] -> [n, D] float32."""
    return reduce(tokens.float(), "n N D -> n D", "mean")
