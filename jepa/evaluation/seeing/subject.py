"""What all sheets look at: one trained model, a few inputs to show, and a bank of others."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
import torch
from torch import Tensor

from jepa.core.build import Built
from jepa.core.config import RunConfig
from jepa.core.data.loading import evaluation_batches
from jepa.core.data.opening import open_source
from jepa.core.data.source import Source
from jepa.core.data.workers import resolve_workers
from jepa.core.errors import DataError, JepaError
from jepa.core.grid import Grid
from jepa.core.model import JEPA, Backbone
from jepa.core.pictures import pictured
from jepa.core.rng import SampleRng, Stream
from jepa.evaluation.features import samples_to_show

BATCH = 64
_BANK = 512
_FLOATS = 2**25
"""Numbers of features, or bytes of inputs, that a bank may hold."""


class SheetError(JepaError):
    """A sheet that this model or its data cannot have; the message says why."""


class Inputs:
    """A batch of inputs with what is shown of it. Letters: B inputs, H and W sides of a preview.

    Args:
        loaded: [B, *S] as the loader gives them, on the CPU.
        pictures: uint8 [B, H, W, 3], as `Modality.preview` gives them.
        names: of the inputs for people, B of them; may be empty texts.
    """

    def __init__(self, loaded: Tensor, pictures: Tensor, names: Sequence[str]) -> None:
        self.loaded = loaded
        self.pictures = pictures
        self.names = tuple(names)

    def __len__(self) -> int:
        return len(self.loaded)


@attrs.frozen(kw_only=True, eq=False)
class Subject:
    """What sheets are drawn of.

    Args:
        model: frozen, in evaluation mode, on the device.
        config: of the run.
        built: the objects of the run.
        grid: of the tokens of these inputs.
        device: of the model.
        seed: of whatever is drawn at random.
        shown: inputs to show, held out from training where the source has a split for that.
        bank: other inputs, which the model was trained on where it was trained on this source.
        more: indices of the source that the bank comes from, in random order, for whoever needs
            more of them than the bank holds.
        source: that they index.
        held_out: whether `shown` comes from another split than the bank.
    """

    model: JEPA
    config: RunConfig
    built: Built
    grid: Grid
    device: torch.device
    seed: int
    shown: Inputs
    bank: Inputs
    more: np.ndarray
    source: Source
    held_out: bool

    @property
    def backbone(self) -> Backbone:
        """The network that users evaluate: the target's, or the context encoder without one."""
        return self.model.target.backbone or self.model.backbone

    def prepared(self, loaded: Tensor) -> Tensor:
        """Inputs [B, *S] as loaded -> float32 [B, *S] on the device."""
        prepared: Tensor = self.model.prepare(loaded.to(self.device))
        return prepared

    def features(self, loaded: Tensor) -> Tensor:
        """Features of whole inputs: [B, *S] as loaded -> [B, N, D] float32 on the CPU."""
        with torch.inference_mode():
            parts = [self.backbone(self.prepared(part)) for part in torch.split(loaded, BATCH)]
            return torch.cat([part.float().cpu() for part in parts])


def make_subject(
    config: RunConfig, built: Built, device: torch.device, samples: int, seed: int
) -> Subject:
    """Load the inputs, and move the model to the device.

    Args:
        config: of the run.
        built: its objects, with the trained weights.
        device: where to compute.
        samples: inputs to show, at most.
        seed: of the choice of the bank.

    Raises:
        DataError: the samples are missing.
    """
    source, held_out = _sources(config, built)
    chosen = samples_to_show(held_out or source, samples)
    workers = resolve_workers(config.data.workers)
    shown = load_inputs(held_out or source, built, chosen, workers)
    grid = built.model.backbone.tokenizer.grid_for(built.modality.spec.shape)
    more = _shuffled(len(source), seed)
    if held_out is None:
        more = more[~np.isin(more, chosen)]
    if not len(more):
        raise DataError(f"{len(source)} samples are too few to show one beside others")
    size = min(_BANK, _FLOATS // (grid.size * built.model.backbone.dim))
    size = max(1, min(size, _FLOATS * 4 // shown.loaded[0].nbytes))
    return Subject(
        model=built.model.to(device),
        config=config,
        built=built,
        grid=grid,
        device=device,
        seed=seed,
        shown=shown,
        bank=load_inputs(source, built, more[:size], workers),
        more=more,
        source=source,
        held_out=held_out is not None,
    )


def load_inputs(source: Source, built: Built, indices: np.ndarray, workers: int) -> Inputs:
    """Samples of a source under the evaluation transform; what cannot be decoded is left out."""
    modality = built.modality
    batches = list(evaluation_batches(source, modality, BATCH, workers, indices))
    loaded = torch.cat([batch.inputs for batch in batches])
    grid = built.model.backbone.tokenizer.grid
    pictures = torch.cat([pictured(modality, batch.inputs, grid) for batch in batches])
    names = []
    for batch in batches:
        labels = [None] * len(batch.indices) if batch.labels is None else batch.labels.tolist()
        names += ["" if label is None else source.classes[label] for label in labels]
    return Inputs(loaded, pictures, names)


def _sources(config: RunConfig, built: Built) -> tuple[Source, Source | None]:
    """The source of the run, and its split `test` where it has one besides."""
    own = open_source(config.data, built.modality)
    try:
        held_out = open_source(config.data, built.modality, "test")
    except DataError:
        return own, None
    return own, None if held_out.fingerprint() == own.fingerprint() else held_out


def _shuffled(n: int, seed: int) -> np.ndarray:
    order: np.ndarray = SampleRng(seed, 0, n, Stream.EVALUATION).uniforms(n).argsort()
    return order
