from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jepa
import jepa.core
from jepa import cli
from jepa.commands import plugins as plugins_command
from jepa.core.errors import ConfigError, DataError

TORCH_FREE = """
import sys
from jepa.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
heavy = {"torch", "torchvision", "numpy", "matplotlib"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ)
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environment, check=False
    )


# --- what answers at once ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["plugins"], ["plugins", "--json"]]
    + [[command, "--help"] for command in cli.COMMANDS],
    ids=" ".join,
)
def test_help_and_lists_import_no_torch(arguments):
    done = run("-c", TORCH_FREE, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_check_for_torch_can_fail():
    done = run("-c", "import numpy\n" + TORCH_FREE, "plugins")
    assert done.stderr == "imported {'numpy'}\n"


def test_the_public_face_imports_no_torch_until_used():
    code = (
        "import sys, jepa.core as core; assert 'torch' not in sys.modules; "
        "core.ConfigError; assert 'torch' not in sys.modules; "
        "core.Grid; assert 'torch' in sys.modules"
    )
    assert run("-c", code).returncode == 0


def test_the_public_face_is_whole_and_each_name_is_what_its_module_says():
    for name in jepa.core.__all__:
        module = importlib.import_module(f"jepa.core.{jepa.core._HOME[name]}")
        assert getattr(jepa.core, name) is getattr(module, name)
    assert set(jepa.core._HOME) == set(jepa.core.__all__)
    assert set(jepa.core.__all__) <= set(dir(jepa.core))
    with pytest.raises(AttributeError, match=r"'jepa\.core' has no attribute 'Nothing'"):
        jepa.core.Nothing  # noqa: B018


# --- face ---------------------------------------------------------------------------------------


def test_version_and_module(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"jepa {jepa.__version__}\n"
    assert run("-m", "jepa", "--version").stdout == f"jepa {jepa.__version__}\n"


def test_every_command_is_in_the_help(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    for name in cli.COMMANDS:
        command = importlib.import_module(f"jepa.commands.{name.replace('-', '_')}")
        assert f"{name} {command.HELP}" in text
        assert "\n" not in command.HELP


def test_every_command_that_exists_is_listed():
    folder = Path(cli.__file__).parent / "commands"
    found = {
        path.stem.replace("_", "-")
        for path in folder.glob("*.py")
        if "\ndef configure(" in path.read_text("utf-8")
    }
    assert found == set(cli.COMMANDS)


class Command:
    """A command that does what a test asks, in place of `plugins`."""

    HELP = "does what a test asks"

    def __init__(self, act) -> None:
        self.act = act

    def configure(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("overrides", nargs="*")
        parser.add_argument("--flag", action="store_true")
        parser.add_argument("--out")

    def run(self, args: argparse.Namespace) -> int:
        return self.act(args)


@pytest.fixture
def command(monkeypatch):
    def install(act):
        module = Command(act)
        monkeypatch.setattr(cli, "COMMANDS", ("act",))
        monkeypatch.setattr(importlib, "import_module", lambda _: module)

    return install


def fail_with(error: BaseException):
    def act(_):
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (ConfigError("no modality", "a.yaml"), 2, "jepa: a.yaml: no modality\n"),
        (DataError("the folder is empty"), 1, "jepa: the folder is empty\n"),
        (KeyboardInterrupt(), 130, "jepa: interrupted\n"),
    ],
)
def test_errors_are_messages_and_exit_codes(command, capsys, error, code, says):
    command(fail_with(error))
    assert cli.main(["act"]) == code
    assert capsys.readouterr() == ("", says)


def test_a_defect_keeps_its_traceback(command):
    command(fail_with(ZeroDivisionError("a defect")))
    with pytest.raises(ZeroDivisionError):
        cli.main(["act"])


def test_the_code_of_a_command_is_the_exit_code(command):
    command(lambda args: 7)
    assert cli.main(["act"]) == 7


def test_overrides_stand_before_and_after_options(command):
    seen = []
    command(lambda args: seen.append((args.overrides, args.out, args.flag)) or 0)
    assert cli.main(["act", "a=1", "--out", "d", "b=2", "--flag", "c=[x: 1]"]) == 0
    assert cli.main(["act", "--out", "d", "a=1", "b=2"]) == 0
    assert seen == [(["a=1", "b=2", "c=[x: 1]"], "d", True), (["a=1", "b=2"], "d", False)]


def test_what_no_command_knows_is_refused(command, capsys):
    command(lambda args: 0)
    with pytest.raises(SystemExit) as end:
        cli.main(["act", "a=1", "--outt", "d"])
    assert end.value.code == 2
    assert "unrecognized arguments: --outt" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["plugins", "x=1"], ["plugins", "--jsn=1"], ["plugin"], []])
def test_wrong_arguments(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert "usage: jepa" in capsys.readouterr().err


def test_whoever_stops_reading_is_no_error():
    code = (
        "import sys; from jepa.cli import main\nsys.stdin.readline()\nsys.exit(main(['plugins']))"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as process:
        process.stdout.close()
        process.stdin.write("go\n")
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


@pytest.mark.parametrize(
    ("where", "code", "said"), [(">&-", 0, ""), ("> /dev/full", 1, "No space left on device")]
)
def test_output_that_goes_nowhere_is_no_traceback(where, code, said):
    done = subprocess.run(
        f"'{sys.executable}' -m jepa plugins {where}",
        shell=True,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# --- jepa plugins -------------------------------------------------------------------------------

SAMPLERS = "jepa.mask_samplers"


def listed(capsys, *arguments: str) -> tuple[int, list[list[str]]]:
    code = cli.main(["plugins", *arguments])
    return code, [line.split(maxsplit=4) for line in capsys.readouterr().out.splitlines()]


def test_the_list_names_kind_name_package_and_version(capsys):
    code, lines = listed(capsys)
    assert code == 0
    assert lines[0] == ["KIND", "NAME", "PACKAGE", "VERSION"]
    assert ["mask_sampler", "multiblock", "anyjepa", jepa.__version__] in lines
    assert all(len(line) == 4 for line in lines)


def test_disputed_and_shadowed_names_are_marked(packages, capsys):
    packages.add("one", {SAMPLERS: {"wave": "one:S", "multiblock": "one:S"}})
    packages.add("two", {SAMPLERS: {"wave": "two:S"}})
    _, lines = listed(capsys)
    notes = {(name, package): note for _, name, package, _, *note in lines[1:]}
    assert notes["wave", "one"] == ["several packages claim this name: say one:wave"]
    assert notes["wave", "two"] == ["several packages claim this name: say two:wave"]
    assert notes["multiblock", "one"] == ["the name means the built-in part: say one:multiblock"]
    assert notes["multiblock", "anyjepa"] == []


def test_the_list_as_json(packages, capsys):
    packages.add("one", {SAMPLERS: {"multiblock": "one:S"}}, version="1.5")
    assert cli.main(["plugins", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    theirs = {
        **{"kind": "mask_sampler", "name": "multiblock", "package": "one", "version": "1.5"},
        **{"target": "one:S", "builtin": False, "claim": "shadowed"},
    }
    assert theirs in rows
    assert all("ok" not in row for row in rows)


def test_check_shows_what_is_broken_and_why(packages, capsys, monkeypatch):
    packages.add("fine", {"jepa.objectives": {"fine": "jepa.plugins.objectives.regression:L1"}})
    packages.add("broken", {SAMPLERS: {"crash": "broken:S"}}, {"broken": "1/0"})
    packages.add("old", {SAMPLERS: {"old": "broken:S"}}, requires=["anyjepa<0.0.1"])
    theirs = [p for p in plugins_command.registry.plugins() if not p.builtin]
    # Ours take seconds to import, and another test checks them.
    with monkeypatch.context() as patch:
        patch.setattr(plugins_command.registry, "plugins", lambda: tuple(theirs))
        codes = cli.main(["plugins", "--check"]), cli.main(["plugins", "--check", "--json"])
    assert codes == (1, 1)
    table, rows = capsys.readouterr().out.split("\n[\n")
    lines = table.splitlines()
    assert lines[0].split() == ["KIND", "NAME", "PACKAGE", "VERSION", "CHECK"]
    assert [line.split()[-1] for line in lines[1:] if line[0] != " "] == ["broken", "broken", "ok"]
    assert "importing broken:S failed: ZeroDivisionError" in lines[2]
    assert "it requires anyjepa<0.0.1, but anyjepa is" in lines[4]
    rows = {row["name"]: row for row in json.loads("[" + rows)}
    assert (rows["fine"]["ok"], rows["fine"]["fault"]) == (True, None)
    assert rows["crash"]["ok"] is False
    assert "ZeroDivisionError" in rows["crash"]["fault"]


def test_all_of_ours_are_sound():
    done = run("-m", "jepa", "plugins", "--check", "--json")
    faults = [row["fault"] for row in json.loads(done.stdout) if row["builtin"] and not row["ok"]]
    assert faults == []
    assert done.returncode == 0


# --- a stranger's package, installed by pip ---------------------------------------------------


def test_a_package_that_pip_installed_is_listed(third_party_dir):
    done = run("-m", "jepa", "plugins", path=third_party_dir)
    assert done.returncode == 0, done.stderr
    assert "mask_sampler stripes jepa-stripes 0.3.0" in {
        " ".join(line.split()) for line in done.stdout.splitlines()
    }
    assert "stripes" not in run("-m", "jepa", "plugins").stdout


def test_its_sampler_loads_and_samples(third_party_dir):
    code = """
import torch
from jepa.core import ConfigError, Grid, Rng
from jepa.core.settings import MaskSamplerPart, structure
part = structure({"name": "stripes", "blocks": 3}, MaskSamplerPart)
sampler = part.cls(part.config, Grid((5, 4), ("y", "x")))
masks = sampler.sample(6, Rng(0, 0, 6))
assert masks.context.shape == (6, 10) and masks.targets.shape == (6, 3, 3)
assert (masks.context % 2 == 0).all() and (masks.targets % 2 == 1).all()
assert (masks.targets.diff(dim=-1) > 0).all()
assert all(map(torch.equal, masks, sampler.sample(6, Rng(0, 0, 6))))
try:
    part.cls(part.config, Grid((2, 2), ("y", "x")))
except ConfigError as error:
    assert "2 odd places" in str(error)
else:
    raise AssertionError("blocks that the grid cannot hold were accepted")
"""
    done = run("-c", code, path=third_party_dir)
    assert done.returncode == 0, done.stderr
