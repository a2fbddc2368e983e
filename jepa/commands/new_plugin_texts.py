"""What `jepa new-plugin` writes of each kind: commands to train with, and what the kit is given.

Words in `{{...}}` are those of the templates.
"""

from __future__ import annotations

CONFIG = "image/quickstart"
"""The shipped config that new parts are tried in: small, and its samples come with the package."""

_TRAIN = f"jepa train --config {CONFIG} --output runs/{{{{name}}}}"

COMMANDS = {
    "modality": "python make_samples.py samples\n"
    "jepa train --config quickstart.yaml --output runs/{{name}}\n"
    "jepa eval runs/{{name}} --protocol knn",
    "tokenizer": f"{_TRAIN} model.tokenizer={{{{name}}}}",
    "mask_sampler": f"{_TRAIN} 'masks=[{{{{name}}}}]'",
    "encoder": f"{_TRAIN} model.encoder={{{{name}}}}",
    "predictor": f"{_TRAIN} model.predictor={{{{name}}}}",
    "target_updater": f"{_TRAIN} model.target={{{{name}}}}",
    "objective": f"{_TRAIN} model.objective={{{{name}}}}",
    "regularizer": f"{_TRAIN} 'model.regularizers=[{{{{name}}}}]'",
    "source": f"{_TRAIN} data.source={{{{name}}}}",
    "protocol": f"{_TRAIN}\njepa eval runs/{{{{name}}}} --protocol {{{{name}}}}",
    "observer": f"{_TRAIN} 'observers=[progress, jsonl, {{{{name}}}}]'",
}
"""Lines that train with the part, or evaluate by it."""

CALLS = {
    "tokenizer": '"{{kind}}", {{Class}}, settings={"size": 2}',
    "modality": """
    "{{kind}}",
    {{Class}},
    settings={"channels": 2, "length": 64},
    contents=SIGNALS,
    overrides=SMALL,
""",
}
"""What `conformance` is given, where that is more than the kind and the class."""

IMPORTS = {"modality": "import numpy as np\n"}
"""Of the tests, before the kit's."""

PRELUDES = {
    "modality": """
SIGNALS = [np.sin(np.linspace(0, pitch, 200)) * np.ones((2, 1)) for pitch in (20, 30, 50)]
SMALL = ["model.dim=16", "model.encoder={name: vit, depth: 1, heads: 2}"]
SMALL += ["model.predictor={name: vit, depth: 1, dim: 16, heads: 2}"]
"""
}
"""What stands above the test."""
