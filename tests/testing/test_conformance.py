"""The kit's face: one call, one decorator, and clear words."""

from __future__ import annotations

import subprocess
import sys

import broken_masks as masks
import pytest

from jepa.core import ConfigError, Grid, PluginError
from jepa.testing import ConformanceError, conformance

GRIDS = [Grid((9,), ("t",)), Grid((4, 6), ("y", "x"))]


@conformance("mask_sampler", "random", settings={"ratio": 0.5}, grids=GRIDS)
def test_the_decorator_makes_a_test_of_each_check(check, request):
    assert request.node.name.endswith(f"[{check.name}]")
    check()


def test_one_call_tells_everything_that_is_wrong():
    kit = conformance("mask_sampler", masks.Sampler, grids=GRIDS)
    kit.run()
    with pytest.raises(ConformanceError) as caught:
        conformance("mask_sampler", masks.Unsorted, grids=GRIDS).run()
    said = str(caught.value).splitlines()
    assert said[0] == "the mask sampler Unsorted on 9 (t) breaks 'ascending'"
    assert said[1] == "  promised: Indices ascend in a row, and none stands there twice."
    assert said[2].startswith("  found:    step 0, context of sample 0: [")
    assert said[3] == "  see:      jepa.core.MaskSampler.sample"
    assert caught.value.checks == ("ascending",)


def test_what_a_part_raises_is_told_and_stays_the_cause():
    with pytest.raises(ConformanceError, match=r"found:    (Pickling|Attribute)Error") as caught:
        conformance("mask_sampler", masks.Unpicklable, grids=GRIDS).run()
    assert caught.value.checks == ("pickles",)
    failure = conformance("mask_sampler", masks.Unpicklable, grids=GRIDS).failures()[0]
    assert failure.__cause__ is not None


def test_slow_checks_are_marked_and_can_be_left_out():
    slow = {c.name for c in conformance("encoder", "vit").checks if c.promise.slow}
    assert slow == {"compiles", "distributed"}
    assert not any(c.promise.slow for c in conformance("encoder", "vit", slow=False).checks)

    @conformance("encoder", "vit")
    def test(check): ...

    (parametrised,) = test.pytestmark
    marked = {p.id for p in parametrised.args[1] if [mark.name for mark in p.marks] == ["slow"]}
    assert marked == slow


def test_wrong_words_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'mask_sampler'"):
        conformance("mask_samplers", "random")
    with pytest.raises(ConfigError, match="did you mean 'ratio'"):
        conformance("mask_sampler", "random", settings={"ration": 0.5})
    with pytest.raises(PluginError, match="did you mean 'random'"):
        conformance("mask_sampler", "randon")


def test_the_kit_needs_no_pytest():
    code = (
        "import sys; sys.modules['pytest'] = None; from jepa.testing import conformance; "
        "conformance('mask_sampler', 'random', slow=False).run()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
