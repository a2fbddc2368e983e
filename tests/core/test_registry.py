from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import entrypoints
import pytest

from jepa.core import registry
from jepa.core.errors import PluginError
from jepa.core.kinds import KINDS
from jepa.core.registry import Claim

GROUP = "jepa.mask_samplers"

SAMPLER = """
import attrs
from jepa.core import MaskSampler, Masks

class Sampler(MaskSampler):
    @attrs.frozen
    class Config:
        size: int = 1

    def sample(self, batch_size, rng):
        raise NotImplementedError
"""


def add_sampler(packages, package, name, **options):
    module = package.replace("-", "_")
    entry = {GROUP: {name: f"{module}:Sampler"}}
    return packages.add(package, entry, {module: options.pop("text", SAMPLER)}, **options)


def test_ours_come_in_by_the_same_door():
    found = {(plugin.kind, plugin.name) for plugin in registry.plugins() if plugin.builtin}
    assert ("encoder", "vit") in found
    assert ("mask_sampler", "multiblock") in found


def test_every_kind_names_a_real_interface():
    for kind in KINDS.values():
        module, name = kind.interface.split(":")
        code = f"import {module} as m; assert isinstance(m.{name}, type)"
        exec(code, {})


def test_a_stranger_is_found_and_loaded(packages):
    add_sampler(packages, "my-masks", "wave", version="2.5")
    plugin = registry.find("mask_sampler", "wave")
    assert (plugin.package, plugin.version, plugin.builtin) == ("my-masks", "2.5", False)
    assert registry.claim(plugin) is Claim.SOLE
    assert registry.load(plugin).__name__ == "Sampler"
    assert registry.find("mask_sampler", "My_Masks:wave") == plugin


def test_finding_imports_nothing(packages, tmp_path):
    witness = tmp_path / "imported"
    text = f"open({str(witness)!r}, 'w').close()\nraise RuntimeError('boom')"
    add_sampler(packages, "loud", "loud", text=text)
    plugin = registry.find("mask_sampler", "loud")
    assert registry.claim(plugin) is Claim.SOLE
    assert not witness.exists()
    with pytest.raises(PluginError, match=r"loud 1\.0: importing .* failed: RuntimeError: boom"):
        registry.load(plugin)
    assert witness.exists()


def test_the_registry_imports_no_torch():
    code = (
        "import sys; from jepa.core import registry; assert registry.plugins(); "
        "assert 'torch' not in sys.modules and 'jepa.plugins' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_claims_name_both_packages_and_a_qualified_name_picks(packages):
    add_sampler(packages, "one-masks", "wave")
    add_sampler(packages, "two-masks", "wave", version="3.1")
    with pytest.raises(PluginError, match=r"2 packages claim the mask sampler 'wave'") as error:
        registry.find("mask_sampler", "wave")
    assert "'one-masks:wave' (version 1.0)" in str(error.value)
    assert "'two-masks:wave' (version 3.1)" in str(error.value)
    picked = registry.find("mask_sampler", "two-masks:wave")
    assert picked.package == "two-masks"
    assert registry.claim(picked) is Claim.DISPUTED
    assert registry.load(picked).__module__ == "two_masks"


def test_a_builtin_name_cannot_be_shadowed(packages):
    add_sampler(packages, "thief", "multiblock")
    assert registry.find("mask_sampler", "multiblock").builtin
    theirs = registry.find("mask_sampler", "thief:multiblock")
    assert theirs.package == "thief"
    assert registry.claim(theirs) is Claim.SHADOWED
    assert registry.claim(registry.find("mask_sampler", "multiblock")) is Claim.SOLE
    assert registry.find("mask_sampler", "anyjepa:multiblock").builtin


def test_the_same_name_of_another_kind_is_no_claim(packages):
    packages.add("other", {"jepa.encoders": {"wave": "other:E"}, GROUP: {"wave": "other:S"}})
    assert registry.claim(registry.find("encoder", "wave")) is Claim.SOLE


@pytest.mark.parametrize("text", ["raise SystemExit(3)", "import no_such_module", "1 +"])
def test_a_broken_stranger_breaks_nobody_until_named(packages, text):
    add_sampler(packages, "broken", "broken", text=text)
    registry.load(registry.find("mask_sampler", "multiblock"))
    with pytest.raises(PluginError, match=r"mask sampler 'broken' of broken 1\.0"):
        registry.load(registry.find("mask_sampler", "broken"))


@pytest.mark.parametrize(
    "malformed",
    [
        b"no header = x:y\n",
        b"[a]\nx = y:z\nx = y:z\n",
        b"[a]\nx = \xff\xfe\n",
        b"[jepa.mask_samplers]\nx = not a module!\n",
        b"[jepa.mask_samplers]\nx = %(oops)s\n",
    ],
)
def test_a_malformed_file_of_another_package_is_passed_over_and_named(packages, malformed):
    packages.add("culprit", malformed)
    add_sampler(packages, "innocent", "wave")
    with pytest.warns(UserWarning, match="'culprit' cannot be read") as warned:
        found = registry.plugins()
    assert len(warned) == 1
    assert {"anyjepa", "innocent"} <= {plugin.package for plugin in found}
    assert "culprit" not in {plugin.package for plugin in found}
    assert registry.load(registry.find("mask_sampler", "wave"))


def test_both_ways_of_finding_agree(packages):
    add_sampler(packages, "My.Masks", "wave", folder="My.Masks-1.0.dist-info")
    direct = registry.plugins()
    registry.plugins.cache_clear()
    packages.add("culprit", "no header = x:y")
    with pytest.warns(UserWarning, match="culprit"):
        assert registry.plugins() == direct


def test_a_package_without_a_name_is_named_by_its_place(packages):
    info = packages.add("nameless", "no header = x:y")
    (info / "METADATA").unlink()
    with pytest.warns(UserWarning, match=str(packages.site)):
        registry.plugins()


def test_the_same_package_twice_on_the_path_is_one_claim(packages, tmp_path, monkeypatch):
    add_sampler(packages, "twice", "wave", version="2.0")
    later = tmp_path / "later"
    for folder in ("twice-1.0.dist-info", "Twice.egg-info"):
        copy = later / folder
        copy.mkdir(parents=True)
        (copy / "entry_points.txt").write_text(f"[{GROUP}]\nwave = twice:Sampler\n")
    monkeypatch.setattr(sys, "path", [*sys.path, str(later), str(packages.site)])
    registry.plugins.cache_clear()
    assert registry.find("mask_sampler", "wave").version == "2.0"


def test_two_spellings_of_one_package_are_one_claim(packages):
    entry = {GROUP: {"wave": "my_masks:Sampler"}}
    packages.add("my.masks", entry, folder="my.masks-1.0.dist-info")
    packages.add("my_masks", entry, folder="my_masks-1.0.dist-info")
    assert registry.find("mask_sampler", "wave").package == "my-masks"


def test_a_folder_without_version_takes_that_of_its_metadata(packages):
    add_sampler(packages, "old-style", "wave", version="7.1", folder="old_style.egg-info")
    assert registry.find("mask_sampler", "wave").version == "7.1"


def test_a_zipped_package_is_found(packages, tmp_path, monkeypatch):
    archive = tmp_path / "zipped.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-4.0.dist-info/entry_points.txt", f"[{GROUP}]\nz = zipped:Sampler\n")
        file.writestr("zipped.py", SAMPLER)
    monkeypatch.syspath_prepend(str(archive))
    registry.plugins.cache_clear()
    plugin = registry.find("mask_sampler", "z")
    assert plugin.version == "4.0"
    assert registry.load(plugin).__module__ == "zipped"


def test_what_is_no_text_on_the_path_is_passed_over_as_python_does(packages, monkeypatch):
    monkeypatch.setattr(sys, "path", [Path("/somewhere"), *sys.path])
    registry.plugins.cache_clear()
    assert registry.find("encoder", "vit").builtin


def test_a_package_that_requires_another_version_of_ours_is_refused(packages):
    add_sampler(packages, "future", "future", requires=["anyjepa>=99", "numpy"])
    with pytest.raises(PluginError, match=r"future 1\.0: it requires anyjepa>=99, but anyjepa is"):
        registry.load(registry.find("mask_sampler", "future"))


@pytest.mark.parametrize(
    "requires",
    [
        ["AnyJEPA>=0.0.1"],
        ["anyjepa>=99; extra == 'all'"],
        ["anyjepa>=99; python_version < '3'"],
        ["not a requirement at all", "numpy>=99"],
    ],
)
def test_requirements_that_hold_or_do_not_apply_are_no_hindrance(packages, requires):
    add_sampler(packages, "fine", "fine", requires=requires)
    assert registry.load(registry.find("mask_sampler", "fine"))


ABSTRACT = """
import attrs
from jepa.core import MaskSampler
class Sampler(MaskSampler):
    @attrs.frozen
    class Config: ...
"""
CONFIGLESS = SAMPLER.replace("    @attrs.frozen\n    class Config:\n        size: int = 1\n", "")
NAMED = SAMPLER.replace("size: int = 1", "name: str = 'x'")
UNRESOLVED = SAMPLER.replace("size: int = 1", "size: 'Nowhere' = 1")
LATER = "from __future__ import annotations\nimport numpy as np\n" + SAMPLER
NO_SUCH = LATER.replace("size: int = 1", "size: np.NoSuch = 1")
UNCLOSED = SAMPLER.replace("size: int = 1", "size: 'list[int' = 1")
NO_TYPE = LATER.replace("size: int = 1", "size: int | 'Other' = 1")
RAISING = LATER.replace("size: int = 1", "size: {}['key'] = 1")
NESTED = SAMPLER.replace(
    "class Sampler(",
    "@attrs.frozen\nclass Deep:\n    depth: 'Nowhere' = 1\n\nclass Sampler(",
).replace("size: int = 1", "size: tuple[Deep, ...] | None = None")
STRANGER = "class Sampler: ..."
FUNCTION = "def Sampler(): ..."
ABSENT = "x = 1"
OBJECT = SAMPLER + "\nSampler = Sampler()"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ABSTRACT, "does not implement sample"),
        (CONFIGLESS, "has no attrs class `Config`"),
        (NAMED, "its Config has a field `name`"),
        (UNRESOLVED, "annotations of Sampler.Config: NameError: name 'Nowhere' is not defined"),
        (NO_SUCH, "annotations of Sampler.Config: AttributeError: .*NoSuch"),
        (UNCLOSED, "annotations of Sampler.Config: SyntaxError: "),
        (NO_TYPE, "annotations of Sampler.Config: TypeError: "),
        (RAISING, "annotations of Sampler.Config: KeyError: 'key'"),
        (NESTED, "annotations of Deep: NameError: name 'Nowhere' is not defined"),
        (STRANGER, "is not a subclass of MaskSampler"),
        (FUNCTION, "is not a subclass of MaskSampler"),
        (OBJECT, "is not a subclass of MaskSampler"),
        (ABSENT, "AttributeError: module 'odd' has no attribute 'Sampler'"),
    ],
)
def test_what_its_group_does_not_promise_is_refused(packages, text, reason):
    add_sampler(packages, "odd", "odd", text=text)
    with pytest.raises(PluginError, match=f"mask sampler 'odd' of odd 1.0.*{reason}"):
        registry.load(registry.find("mask_sampler", "odd"))


def test_an_unknown_name_says_what_there_is_and_the_nearest():
    with pytest.raises(PluginError, match=r"no such mask sampler.*multiblock_official.*did you"):
        registry.find("mask_sampler", "multiblok")
    with pytest.raises(PluginError, match="allowed: anyjepa:vit"):
        registry.find("encoder", "nobody:vit")


def test_without_our_own_distribution_the_error_says_to_install(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    registry.plugins.cache_clear()
    try:
        with pytest.raises(PluginError, match="no built-in part is registered; install"):
            registry.find("encoder", "vit")
    finally:
        registry.plugins.cache_clear()


def test_the_path_is_searched_once(packages, monkeypatch):
    searches = []
    search = entrypoints.iter_files_distros

    def counted(*args):
        searches.append(args)
        return search(*args)

    monkeypatch.setattr(entrypoints, "iter_files_distros", counted)
    for _ in range(3):
        registry.find("encoder", "vit")
        registry.claim(registry.find("mask_sampler", "multiblock"))
    assert len(searches) == 1
