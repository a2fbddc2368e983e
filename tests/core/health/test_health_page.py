"""docs/health.md tells every measure, every verdict, and the thresholds as they are."""

from pathlib import Path

import pytest

import jepa
from jepa.core.health.glossary import MEASURES
from jepa.core.health.rules import Thresholds
from jepa.core.health.verdict import Kind

PAGE = Path(jepa.__file__).parents[1] / "docs" / "health.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="docs are in a checkout alone")


def rows() -> dict[str, str]:
    """The lines of the page's tables, by what stands first in them."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    return {line.split("|")[1].strip(): line for line in lines}


def test_every_verdict_is_on_the_page():
    assert {f"`{kind.value}`" for kind in Kind} <= rows().keys()


def test_every_measure_is_on_the_page():
    told = {name.strip().strip("`") for first in rows() for name in first.split(",")}
    assert {measure.name for measure in MEASURES} <= told


def test_the_thresholds_are_those_of_the_rules():
    limits, told = Thresholds(), rows()
    said = {
        Kind.DIVERGING: ["three steps in a row", "twice"],
        Kind.COLLAPSED: [f"below {limits.collapsed_std}", f"below {limits.collapsed_rank:.0%}"],
        Kind.COLLAPSING: [
            f"below {limits.collapsing_rank:.0%}",
            f"{100 * limits.collapsing_knn:.0f} points below",
        ],
        Kind.WARMING_UP: ["fewer than four measurements"],
        Kind.MEAN: [f"above {limits.mean:.0%}"],
        Kind.HARDER: [
            f"{limits.rising - 1:.0%} above its least",
            f"rose by {limits.better_rank - 1:.0%}",
            f"by {100 * limits.better_knn:.0f} points",
            f"above {limits.sound_rank:.0%}",
        ],
    }
    for kind, parts in said.items():
        for part in parts:
            assert part in told[f"`{kind.value}`"], (kind, part)
    assert (limits.bad_steps, limits.diverging, limits.measures) == (3, 2.0, 4)
