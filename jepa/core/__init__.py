"""What everything stands on. The public face for third parties is what is named here.

Names are loaded when they are first used: importing `jepa.core` imports no torch, so that the
command line answers at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jepa.core.collective import alone, mean_over_processes, of_first_process
    from jepa.core.data.held_out import HeldOut
    from jepa.core.data.source import Item, Measured, Place, Source
    from jepa.core.errors import (
        CheckpointError,
        ConfigError,
        DataError,
        DecodeError,
        Fault,
        JepaError,
        PluginError,
        TrainingError,
    )
    from jepa.core.grid import Grid
    from jepa.core.interfaces import (
        Attentive,
        Encoder,
        InputSpec,
        MaskSampler,
        Objective,
        Predictor,
        Regularizer,
        Target,
        TargetUpdater,
        Tokenizer,
    )
    from jepa.core.modality import Content, Modality, Stretch, Whole, entire, part_of, whole
    from jepa.core.model import Backbone, evaluating, take_targets
    from jepa.core.pictures import pictured
    from jepa.core.probing import Batch, Network, Predictions, Protocol, Samples
    from jepa.core.rng import Rng, SampleRng, Stream
    from jepa.core.settings import (
        EncoderPart,
        FieldError,
        MaskSamplerPart,
        ModalityPart,
        ObjectivePart,
        ObserverPart,
        Part,
        PredictorPart,
        ProtocolPart,
        RegularizerPart,
        SourcePart,
        TargetUpdaterPart,
        TokenizerPart,
        check,
        fraction,
        non_negative,
        positive,
        positive_all,
        positive_range,
        scale_range,
    )
    from jepa.core.tokens import Loss, Masks, Query, Tokens
    from jepa.core.training.observer import (
        FixedBatch,
        Observer,
        Outcome,
        Record,
        Remark,
        RunView,
    )

__all__ = [
    "Attentive",
    "Backbone",
    "Batch",
    "CheckpointError",
    "ConfigError",
    "Content",
    "DataError",
    "DecodeError",
    "Encoder",
    "EncoderPart",
    "Fault",
    "FieldError",
    "FixedBatch",
    "Grid",
    "HeldOut",
    "InputSpec",
    "Item",
    "JepaError",
    "Loss",
    "MaskSampler",
    "MaskSamplerPart",
    "Masks",
    "Measured",
    "Modality",
    "ModalityPart",
    "Network",
    "Objective",
    "ObjectivePart",
    "Observer",
    "ObserverPart",
    "Outcome",
    "Part",
    "Place",
    "PluginError",
    "Predictions",
    "Predictor",
    "PredictorPart",
    "Protocol",
    "ProtocolPart",
    "Query",
    "Record",
    "Regularizer",
    "RegularizerPart",
    "Remark",
    "Rng",
    "RunView",
    "SampleRng",
    "Samples",
    "Source",
    "SourcePart",
    "Stream",
    "Stretch",
    "Target",
    "TargetUpdater",
    "TargetUpdaterPart",
    "Tokenizer",
    "TokenizerPart",
    "Tokens",
    "TrainingError",
    "Whole",
    "alone",
    "check",
    "entire",
    "evaluating",
    "fraction",
    "mean_over_processes",
    "non_negative",
    "of_first_process",
    "part_of",
    "pictured",
    "positive",
    "positive_all",
    "positive_range",
    "scale_range",
    "take_targets",
    "whole",
]

_MODULES = {
    "collective": "alone mean_over_processes of_first_process",
    "data.held_out": "HeldOut",
    "data.source": "Item Measured Place Source",
    "errors": "CheckpointError ConfigError DataError DecodeError Fault JepaError PluginError "
    "TrainingError",
    "grid": "Grid",
    "interfaces": "Attentive Encoder InputSpec MaskSampler Objective Predictor Regularizer Target "
    "TargetUpdater Tokenizer",
    "modality": "Content Modality Stretch Whole entire part_of whole",
    "model": "Backbone evaluating take_targets",
    "pictures": "pictured",
    "probing": "Batch Network Predictions Protocol Samples",
    "rng": "Rng SampleRng Stream",
    "settings": "EncoderPart FieldError MaskSamplerPart ModalityPart ObjectivePart ObserverPart "
    "Part PredictorPart ProtocolPart RegularizerPart SourcePart TargetUpdaterPart TokenizerPart "
    "check fraction non_negative positive positive_all positive_range scale_range",
    "tokens": "Loss Masks Query Tokens",
    "training.observer": "FixedBatch Observer Outcome Record Remark RunView",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'jepa.core' has no attribute '{name}'")
    found = getattr(importlib.import_module(f"jepa.core.{_HOME[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
