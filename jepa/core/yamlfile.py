"""YAML 1.2 text and plain data: 1e-4 is a number, `no` is text, a duplicate key is an error."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from jepa.core.errors import ConfigError, one_of
from jepa.core.parts import plain
from jepa.core.validators import show


def parse_yaml(text: str, where: str) -> Any:
    """Plain data of YAML text.

    Raises:
        ConfigError: with the place in the text.
    """
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = (error.problem or str(error)).strip().splitlines()[0]
        raise ConfigError(f"{at}{problem}", where) from error
    except (YAMLError, ValueError) as error:
        raise ConfigError(str(error).splitlines()[0], where) from error


def to_yaml(settings: Mapping[str, Any]) -> str:
    """YAML text of settings, keys in their order. Tuples are lists, paths are text."""
    out = io.StringIO()
    yaml = YAML(pure=True)
    yaml.default_flow_style = False
    yaml.width = 10_000
    yaml.dump(plain(settings), out)
    return out.getvalue()


def config_path(name: str) -> Path:
    """The file that `--config` means: a path, or the name of a shipped config (`image/vith14`).

    Raises:
        ConfigError: neither exists.
    """
    path = Path(name)
    if path.is_file():
        return path
    bare = name.removesuffix(".yaml").removeprefix("configs/")
    shipped = _shipped() / f"{bare}.yaml"
    if shipped.is_file():
        return shipped
    if path.is_dir():
        raise ConfigError("this is a folder; --config takes a file", name)
    raise ConfigError(f"no such file, and no shipped config: {one_of(bare, shipped_names())}", name)


def shipped_names() -> list[str]:
    """Every shipped config as `--config` names it: `image/vith14`."""
    folder = _shipped()
    return [str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml")]


def _shipped() -> Path:
    return Path(__file__).parents[1] / "configs"


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
