"""The rules of the house hold in every module, and each checker can fail."""

from __future__ import annotations

import ast
import textwrap
from pathlib import Path

import house_rules as rules
import pytest

import jepa

ROOT = Path(jepa.__file__).parent
LONGEST = 300


def module_of(path: Path) -> str:
    inside = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in inside if part != "__init__")


FILES = sorted(ROOT.rglob("*.py"))
MODULES = {module_of(path): path for path in FILES}


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds(rule):
    complaints = [
        f"{path.relative_to(ROOT.parent)}:{line}: {complaint}"
        for module, path in MODULES.items()
        for line, complaint in rule(ast.parse(path.read_text("utf-8")), module)
    ]
    assert not complaints, "\n".join(complaints)


def test_every_module_is_short():
    lengths = {module: path.read_text("utf-8").count("\n") for module, path in MODULES.items()}
    long = {module: lines for module, lines in lengths.items() if lines > LONGEST}
    assert not long, f"longer than {LONGEST} lines: {long}"


def test_every_module_was_looked_at():
    assert {"jepa", "jepa.cli", "jepa.core.registry", "jepa.core.training"} <= MODULES.keys()
    assert len(FILES) == len(MODULES) > 50


@pytest.mark.parametrize("places", [rules.BROAD_EXCEPT, rules.RANDOMNESS, rules.KEYWORD_SINKS])
def test_no_named_place_is_out_of_date(places):
    for module, function in places:
        tree = ast.parse(MODULES[module].read_text("utf-8"))
        names = {node.name for node in ast.walk(tree) if isinstance(node, rules.FunctionNode)}
        assert function in names, f"{module} has no function {function}"


def test_no_named_word_is_out_of_date():
    for module, word in rules.NAMED_WORDS:
        assert word in MODULES[module].read_text("utf-8"), f"{module} does not say {word}"


# --- each checker on code that breaks it, and on code that does not ------------------------------

BAD = [
    (rules.imports_go_down, "jepa.core.x", "import jepa.plugins.layers"),
    (rules.imports_go_down, "jepa.core.x", "from jepa.modalities.image import decode"),
    (rules.imports_go_down, "jepa.core.x", "from jepa import plugins"),
    (rules.imports_go_down, "jepa.core.x", "def f():\n    from jepa.evaluation import knn"),
    (rules.imports_go_down, "jepa.core.x", "if TYPE_CHECKING:\n    import jepa.observers"),
    (rules.imports_go_down, "jepa.core.x", "from jepa.commands.train import run"),
    (rules.imports_go_down, "jepa.core.x", "from . import grid"),
    (rules.imports_go_down, "jepa.plugins.x", "from jepa.modalities.image import decode"),
    (rules.imports_go_down, "jepa.plugins.x", "from jepa.modalities import image"),
    (rules.imports_go_down, "jepa.modalities.image.x", "from jepa.plugins import layers"),
    (rules.imports_go_down, "jepa.modalities.image.x", "from jepa.modalities import audio"),
    (rules.imports_go_down, "jepa.observers.x", "from jepa.evaluation.knn import Knn"),
    (rules.imports_go_down, "jepa.evaluation.x", "import jepa.cli"),
    (rules.imports_go_down, "jepa.commands.x", "from jepa.plugins.layers import Block"),
    (rules.entry_points_in_one_file, "jepa.core.x", "import entrypoints"),
    (rules.entry_points_in_one_file, "jepa.core.x", "from entrypoints import get_single"),
    (rules.entry_points_in_one_file, "jepa.core.x", "importlib.metadata.entry_points()"),
    (rules.no_broad_except, "jepa.x", "try: f()\nexcept: pass"),
    (rules.no_broad_except, "jepa.x", "try: f()\nexcept Exception as e: pass"),
    (rules.no_broad_except, "jepa.x", "try: f()\nexcept (ValueError, BaseException): pass"),
    (rules.no_broad_except, "jepa.x", "def g():\n with contextlib.suppress(Exception): f()"),
    (rules.no_broad_except, "jepa.core.registry", "def load():\n try: f()\n except: pass"),
    (rules.no_global_randomness, "jepa.x", "import torch\ntorch.manual_seed(0)"),
    (rules.no_global_randomness, "jepa.x", "import torch as t\nx = t.rand(3)"),
    (rules.no_global_randomness, "jepa.x", "import torch\nx = torch.cuda.manual_seed_all(3)"),
    (rules.no_global_randomness, "jepa.x", "import numpy as np\nx = np.random.rand(3)"),
    (rules.no_global_randomness, "jepa.x", "from numpy import random as r\nx = r.rand(3)"),
    (rules.no_global_randomness, "jepa.x", "from numpy.random import default_rng\ndefault_rng()"),
    (rules.no_global_randomness, "jepa.x", "import random\nx = random.shuffle([1])"),
    (rules.no_global_randomness, "jepa.x", "from random import choice\nx = choice([1])"),
    (rules.no_global_randomness, "jepa.x", "x = y.new_empty(3).bernoulli_(0.5)"),
    (rules.no_modality_words, "jepa.core.x", "image_size = 3"),
    (rules.no_modality_words, "jepa.core.x", "class ImageFolder: ..."),
    (rules.no_modality_words, "jepa.core.x", "def f(pixels): ..."),
    (rules.no_modality_words, "jepa.core.x", "f(video=3)"),
    (rules.no_modality_words, "jepa.core.x", "x.spectrogram"),
    (rules.no_modality_words, "jepa.core.x", "x = 'needs an image'"),
    (rules.no_modality_words, "jepa.core.x", "x = f'{n} images'"),
    (rules.no_modality_words, "jepa.plugins.x", "from PIL import Image"),
    (rules.no_keyword_sinks, "jepa.x", "def f(**kwargs): ..."),
    (rules.no_keyword_sinks, "jepa.x", "class A:\n  def f(self, *, a, **rest): ..."),
    (rules.no_hasattr, "jepa.x", "x = hasattr(y, 'z')"),
    (rules.configs_are_frozen, "jepa.x", "class Config: ..."),
    (rules.configs_are_frozen, "jepa.x", "@attrs.define\nclass Config: ..."),
    (rules.configs_are_frozen, "jepa.x", "@attrs.frozen\nclass RunConfig: ..."),
    (rules.configs_are_frozen, "jepa.x", "@attrs.frozen(kw_only=False)\nclass Config: ..."),
    (rules.public_things_have_docstrings, "jepa.x", "x = 1"),
    (rules.public_things_have_docstrings, "jepa.x", '"""M."""\ndef f(): ...'),
    (rules.public_things_have_docstrings, "jepa.x", '"""M."""\nclass A:\n  x = 1'),
    (rules.public_things_have_docstrings, "jepa.x", '"""M."""\nclass A:\n  "D"\n  def f(s): ...'),
]

GOOD = [
    (rules.imports_go_down, "jepa.core.x", "import jepa\nfrom jepa import __version__\nimport os"),
    (rules.imports_go_down, "jepa.core.x", "from jepa.core.grid import Grid"),
    (rules.imports_go_down, "jepa.plugins.masks.x", "from jepa.plugins import layers"),
    (rules.imports_go_down, "jepa.modalities.image.x", "from jepa.modalities.image import crop"),
    (rules.imports_go_down, "jepa.cli", "import jepa.commands.train"),
    (rules.entry_points_in_one_file, "jepa.core.registry", "import entrypoints"),
    (rules.no_broad_except, "jepa.x", "try: f()\nexcept (OSError, ValueError): pass"),
    (rules.no_broad_except, "jepa.core.registry", "def _import():\n try: f()\n except: pass"),
    (rules.no_global_randomness, "jepa.core.rng", "import torch\ntorch.rand(3)"),
    (rules.no_global_randomness, "jepa.x", "rng.rows(3)\nnn.init.normal_(w)"),
    (rules.no_modality_words, "jepa.core.x", '"""An image."""\nx = 1  # pixels\n'),
    (rules.no_modality_words, "jepa.core.x", 'class A:\n  x = 1\n  """Of the image."""'),
    (rules.no_modality_words, "jepa.modalities.image.x", "image = 3"),
    (rules.no_modality_words, "jepa.core.x", "imagine = pixelate = 3"),
    (rules.no_keyword_sinks, "jepa.x", "def f(*args, a=1): ..."),
    (rules.configs_are_frozen, "jepa.x", "@attrs.frozen(kw_only=True)\nclass Config: ..."),
    (rules.public_things_have_docstrings, "jepa.x", '"""M."""\ndef _f(): ...\nclass _A: ...'),
]


def complaints(rule, module, code):
    return list(rule(ast.parse(textwrap.dedent(code)), module))


@pytest.mark.parametrize(("rule", "module", "code"), BAD)
def test_a_breach_is_noticed(rule, module, code):
    assert complaints(rule, module, code)


@pytest.mark.parametrize(("rule", "module", "code"), GOOD)
def test_sound_code_passes(rule, module, code):
    assert complaints(rule, module, code) == []


def test_every_rule_has_a_breach():
    assert {rule for rule, _, _ in BAD} == set(rules.RULES)
