"""The kinds of parts, and what a plugin of each kind derives from."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.frozen
class Kind:
    """One kind of part: its entry-point group and the class that its plugins derive from."""

    name: str
    group: str
    interface: str

    @property
    def words(self) -> str:
        """The kind as an error says it: `mask sampler`."""
        return self.name.replace("_", " ")


def _kinds(*rows: tuple[str, str, str]) -> Mapping[str, Kind]:
    return MappingProxyType(
        {name: Kind(name, f"jepa.{g}", f"jepa.core.{i}") for name, g, i in rows}
    )


KINDS = _kinds(
    ("modality", "modalities", "modality:Modality"),
    ("tokenizer", "tokenizers", "interfaces:Tokenizer"),
    ("mask_sampler", "mask_samplers", "interfaces:MaskSampler"),
    ("encoder", "encoders", "interfaces:Encoder"),
    ("predictor", "predictors", "interfaces:Predictor"),
    ("target_updater", "target_updaters", "interfaces:TargetUpdater"),
    ("objective", "objectives", "interfaces:Objective"),
    ("regularizer", "regularizers", "interfaces:Regularizer"),
    ("source", "sources", "data.source:Source"),
    ("protocol", "protocols", "probing:Protocol"),
    ("observer", "observers", "training.observer:Observer"),
)
