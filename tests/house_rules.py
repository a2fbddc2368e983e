"""The rules of the house as functions of a syntax tree. `test_house.py` applies them.

Each gives complaints as (line, what). Where a rule names places that may break it, the place is a
file with a function or a word, and the reason stands beside it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

Complaints = Iterator[tuple[int, str]]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# --- imports go down only ---------------------------------------------------------------------

FLOORS: dict[str, tuple[str, ...]] = {
    "jepa.core": ("jepa.core",),
    "jepa.plugins": ("jepa.core", "jepa.plugins"),
    "jepa.evaluation": ("jepa.core", "jepa.evaluation"),
    "jepa.ablation": ("jepa.core", "jepa.ablation", "jepa.evaluation"),
    "jepa.observers": ("jepa.core", "jepa.observers"),
    "jepa.testing": ("jepa.core", "jepa.testing"),
    # Parts are found by name, so that even commands import none.
    "jepa.commands": (
        *("jepa.core", "jepa.commands", "jepa.ablation", "jepa.evaluation", "jepa.testing"),
    ),
}


def allowed_imports(module: str) -> tuple[str, ...]:
    """What a module of ours may import of ours."""
    if module.startswith("jepa.modalities."):
        own = ".".join(module.split(".")[:3])
        return ("jepa.core", own)
    if module == "jepa":  # the public face
        return ("jepa.evaluation",)
    for floor, below in FLOORS.items():
        if within(module, [floor]):
            return below
    return ("jepa.core", "jepa.commands", "jepa.cli")


def within(module: str, packages: Sequence[str]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module that is imported, at whatever depth of the code."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            # `from jepa import plugins` imports jepa.plugins.
            deeper = base in ("jepa", "jepa.modalities") or node.level > 0
            yield from (
                (node.lineno, f"{base}.{alias.name}" if deeper else base) for alias in node.names
            )


def imports_go_down(tree: ast.AST, module: str) -> Complaints:
    allowed = allowed_imports(module)
    for line, name in imported(tree):
        if name.startswith("."):
            yield line, f"relative import {name}"
        elif name.startswith("jepa.__") or name == "jepa":
            continue  # the version
        elif within(name, ["jepa"]) and not within(name, allowed):
            yield line, f"imports {name}; allowed: {', '.join(allowed)}"


def entry_points_in_one_file(tree: ast.AST, module: str) -> Complaints:
    if module == "jepa.core.registry":
        return
    for line, name in imported(tree):
        if within(name, ["entrypoints"]):
            yield line, "imports entrypoints"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and last_name(node) == "entry_points":
            yield node.lineno, "finds entry points"


# --- errors -----------------------------------------------------------------------------------

BROAD_EXCEPT = {
    ("jepa.core.registry", "_import"): "a stranger's import may raise anything",
    ("jepa.core.registry", "fields"): "a stranger's annotations may raise anything",
    ("jepa.core.training.feed", "work"): "a thread hands on whatever it meets",
    ("jepa.core.files", "_replace"): "cleans up and raises again",
    ("jepa.ablation.strangers", "strangers"): "a stranger's part fails its own run, not the sweep",
}


def no_broad_except(tree: ast.AST, module: str) -> Complaints:
    for function, node in inside_functions(tree):
        if (module, function) in BROAD_EXCEPT:
            continue
        if isinstance(node, ast.ExceptHandler) and (node.type is None or is_broad(node.type)):
            yield node.lineno, f"broad except in {function}"
        elif isinstance(node, ast.Call) and last_name(node.func) == "suppress" and is_broad(node):
            yield node.lineno, f"suppresses everything in {function}"


def is_broad(node: ast.AST) -> bool:
    """Whether a type, one of several, or an argument of a call is the root of all errors."""
    members = [node]
    if isinstance(node, ast.Tuple):
        members = node.elts
    elif isinstance(node, ast.Call):
        members = node.args
    return any(last_name(member) in ("Exception", "BaseException") for member in members)


# --- randomness -------------------------------------------------------------------------------

RANDOMNESS = {
    ("jepa.testing.generators", "states"): "reads states, to see that a part leaves them alone",
    ("jepa.testing.generators", "stirred"): "draws before, and puts states back after",
    ("jepa.core.build", "seeded"): "initial weights are drawn from torch's generator, restored",
    ("jepa.core.training.trainer", "_backward"): "seeds the device's generator for drop path",
    ("jepa.evaluation.mixing", "drawing"): "seeds drop path and mixtures of a step, restored",
    ("jepa.plugins.layers", "forward"): "drop path draws on the device, after the trainer's seed",
    ("jepa.plugins.regularizers.sigreg", "_directions"): "new in each step, after the same seed",
}
_DRAWS = r"rand|randn|randint|randperm|normal|bernoulli|multinomial|poisson"
_RANDOM = re.compile(
    rf"torch\.({_DRAWS}|rand_like|randn_like|randint_like|manual_seed|seed|set_rng_state)"
    r"|torch\.(cuda|random)\.(manual_seed\w*|seed\w*|set_rng_state\w*)"
    r"|numpy\.random\.\w+|random\.\w+|secrets\.\w+|.*\.(bernoulli|uniform|normal|random"
    r"|exponential|cauchy|geometric|log_normal)_"
)


def no_global_randomness(tree: ast.AST, module: str) -> Complaints:
    """Draws and seeds outside `jepa.core.rng`.

    Initialisers (`nn.init`) are left out: weights are made inside `build`, which seeds.
    """
    if module == "jepa.core.rng":
        return
    aliases = names_of_imports(tree)
    for function, node in inside_functions(tree):
        if isinstance(node, ast.Call) and (module, function) not in RANDOMNESS:
            name = dotted(node.func, aliases)
            if _RANDOM.fullmatch(name) and ".init." not in name:
                yield node.lineno, f"{name} in {function}"


def names_of_imports(tree: ast.AST) -> dict[str, str]:
    """What each imported name stands for: `np` for `numpy`."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {a.asname: a.name for a in node.names if a.asname}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return aliases


# --- nothing outside a modality's folder knows what an image is ---------------------------------

MODALITY_WORDS = {
    *("image", "images", "pixel", "pixels", "jpeg", "jpegs", "rgb", "video", "videos"),
    *("audio", "spectrogram", "spectrograms", "waveform", "waveforms", "mel"),
}
MODALITY_BLIND = (
    *("jepa.core", "jepa.plugins", "jepa.observers", "jepa.evaluation", "jepa.ablation"),
    *("jepa.commands", "jepa.testing"),
)
NAMED_WORDS = {
    ("jepa.core.data.arrays", "images"): "files of the idx format are called so",
    ("jepa.core.stills", "Image"): "Pillow's name for any picture",
    ("jepa.observers.tensorboard", "add_image"): "TensorBoard's name for any picture",
    ("jepa.commands.train", "image"): "the help shows the names of shipped configs",
    ("jepa.commands.new_plugin_texts", "image"): "a shipped config that new parts are tried in",
    ("jepa.evaluation.pages", "image"): "the type of a picture embedded in a page",
    ("jepa.evaluation.masks_drawing", "image"): "matplotlib's name for what imshow draws",
}


def no_modality_words(tree: ast.AST, module: str) -> Complaints:
    """Identifiers and text, but for docstrings, that name what one modality alone knows."""
    if not within(module, MODALITY_BLIND):
        return
    docs = docstrings(tree)
    for node in ast.walk(tree):
        for text in () if id(node) in docs else texts_of(node):
            found = MODALITY_WORDS & set(words(text))
            if found and not excused(module, found, text):
                yield getattr(node, "lineno", 0), f"'{text[:60]}' names {', '.join(sorted(found))}"


def excused(module: str, found: set[str], text: str) -> bool:
    return (module, text) in NAMED_WORDS or all((module, word) in NAMED_WORDS for word in found)


def words(text: str) -> list[str]:
    """`ImageFolder` and `image_folder` both give `image`, `folder`."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).lower())


def texts_of(node: ast.AST) -> tuple[str, ...]:
    """Names and text that a node itself brings."""
    match node:
        case ast.Name():
            return (node.id,)
        case ast.Attribute():
            return (node.attr,)
        case ast.arg():
            return (node.arg,)
        case ast.keyword():
            return (node.arg,) if node.arg else ()
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return (node.name,)
        case ast.alias():
            return (node.name, node.asname or "")
        case ast.Constant(value=str()):
            return (str(node.value),)
    return ()


# --- signatures, settings, docstrings ---------------------------------------------------------


KEYWORD_SINKS = {
    ("jepa.core.build", "part"): "hands on to a part, whose own signature refuses what is wrong",
}


def no_keyword_sinks(tree: ast.AST, module: str) -> Complaints:
    for function, node in inside_functions(tree):
        if (module, function) in KEYWORD_SINKS:
            continue
        if isinstance(node, FunctionNode | ast.Lambda) and node.args.kwarg is not None:
            yield node.lineno, f"**{node.args.kwarg.arg} swallows misspelt names"


def no_hasattr(tree: ast.AST, module: str) -> Complaints:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and last_name(node.func) == "hasattr":
            yield node.lineno, "hasattr picks behaviour"


def configs_are_frozen(tree: ast.AST, module: str) -> Complaints:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.ClassDef) and re.fullmatch(r"\w*Config", node.name)):
            continue
        makers = [d for d in node.decorator_list if dotted(call_name(d), {}) == "attrs.frozen"]
        keywords = [k for d in makers if isinstance(d, ast.Call) for k in d.keywords]
        if not any(k.arg == "kw_only" and literal(k.value) is True for k in keywords):
            yield node.lineno, f"{node.name} is not @attrs.frozen(kw_only=True)"


def public_things_have_docstrings(tree: ast.AST, module: str) -> Complaints:
    if isinstance(tree, ast.Module) and not ast.get_docstring(tree):
        yield 1, "module without docstring"
    yield from _undocumented(tree)


def _undocumented(node: ast.AST) -> Complaints:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FunctionNode | ast.ClassDef) and not child.name.startswith("_"):
            if not ast.get_docstring(child) and not is_variant(child):
                yield child.lineno, f"{child.name} has no docstring"
            if isinstance(child, ast.ClassDef):
                yield from _undocumented(child)


def is_variant(node: FunctionNode | ast.ClassDef) -> bool:
    """Overloads and setters say nothing that their first form did not say."""
    return any(last_name(d) in ("overload", "setter") for d in node.decorator_list)


RULES = (
    imports_go_down,
    entry_points_in_one_file,
    no_broad_except,
    no_global_randomness,
    no_modality_words,
    no_keyword_sinks,
    no_hasattr,
    configs_are_frozen,
    public_things_have_docstrings,
)

# --- of syntax trees --------------------------------------------------------------------------


def inside_functions(node: ast.AST, function: str = "module") -> Iterator[tuple[str, ast.AST]]:
    """Every node with the name of the innermost function around it."""
    for child in ast.iter_child_nodes(node):
        inner = child.name if isinstance(child, FunctionNode) else function
        yield inner, child
        yield from inside_functions(child, inner)


def docstrings(tree: ast.AST) -> set[int]:
    """Identities of texts that stand alone: docstrings of modules, classes, functions, fields."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """The dotted name of an expression, its first part as imported; `?` for what has none."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def call_name(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def literal(node: ast.expr) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
