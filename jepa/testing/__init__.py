"""The conformance kit: checks that any plugin runs on itself, and that ours pass too.

    from jepa.testing import conformance

    @conformance("mask_sampler", "random", settings={"ratio": 0.5})
    def test_it_keeps_its_promises(check):
        check()

Each promise is a test of its own. `conformance(...).run()` tries them all without pytest.
"""

from __future__ import annotations

from jepa.testing.conformance import Conformance, conformance
from jepa.testing.promises import Check, ConformanceError

__all__ = ["Check", "Conformance", "ConformanceError", "conformance"]
