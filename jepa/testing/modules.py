"""Checks that every part which is a `torch.nn.Module` gets, whatever it takes and gives.

A kind says by a function from a subject to a `Trial` what its module is called with.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch._dynamo
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from jepa.core.build import seeded
from jepa.core.tokens import Loss
from jepa.testing.generators import untouched
from jepa.testing.processes import gradients_of_two
from jepa.testing.promises import Promise, Subject, expect, promise
from jepa.testing.scores import gradients, score

_CLOSE = 1e-5


class Trial(NamedTuple):
    """A module and a batch for it: whatever holds tensors whose first axis is the sample.

    `part` is what is tried, where the module holds something else besides.
    """

    module: nn.Module
    inputs: tuple[Any, ...]
    part: nn.Module | None = None


Try = Callable[[Subject], Trial]


def outputs(found: Any) -> list[Tensor]:
    """The tensors of what a module gave; of a loss its total."""
    if isinstance(found, Loss):
        return [found.total]
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


def same(one: Any, other: Any, tolerance: float = _CLOSE) -> bool:
    """Whether two results agree, up to a share of their size."""
    pairs = zip(outputs(one), outputs(other), strict=True)
    return all(a.shape == b.shape and distance(a, b) <= tolerance for a, b in pairs)


def distance(one: Tensor, other: Tensor) -> float:
    """The greatest difference, as a share of the greatest value (or of 1)."""
    a, b = one.detach().double(), other.detach().double()
    return float((a - b).abs().max() / max(1.0, float(b.abs().max())))


def module_promises(
    make: Try, see: str, *, draws: bool = False, compiled: bool = False
) -> tuple[Promise, ...]:
    """The checks of one kind of module.

    Args:
        make: the trial of a subject.
        see: where its call is described.
        draws: whether modules of this kind may draw in evaluation mode too.
        compiled: whether the trainer compiles modules of this kind.
    """

    def trial(subject: Subject) -> Trial:
        with seeded(0):
            return make(subject)

    @promise(see)
    def gradient_reaches_every_parameter(subject: Subject) -> None:
        """Every parameter that is trained gets a gradient that is not zero."""
        module, inputs, part = trial(subject)
        own = {id(parameter) for parameter in (part or module).parameters()}
        with seeded(1):
            every = gradients(module.train(), inputs)
        named = dict(module.named_parameters())
        found = {name: gradient for name, gradient in every.items() if id(named[name]) in own}
        unreached = [name for name, g in found.items() if g is None or not bool(g.any())]
        expect(not unreached, f"none reaches {', '.join(unreached[:8])}")
        infinite = [name for name, g in found.items() if g is not None and not g.isfinite().all()]
        expect(not infinite, f"not finite in {', '.join(infinite[:8])}")

    @promise(see)
    def repeats(subject: Subject) -> None:
        """The same inputs give the same outputs; in training mode with the same seed of torch."""
        module, inputs, _ = trial(subject)
        for mode in (False, True):
            found = []
            for _ in range(2):
                with seeded(2):
                    found.append(module.train(mode)(*copy.deepcopy(inputs)))
            name = "training" if mode else "evaluation"
            expect(same(found[0], found[1], tolerance=0.0), f"two calls in {name} mode differ")

    @promise(see)
    def generators(subject: Subject) -> None:
        """No global generator is used, but torch's in training mode, which the trainer seeds."""
        module, inputs, _ = trial(subject)
        untouched(lambda: module.eval()(*inputs), of_torch=not draws)
        untouched(lambda: module.train()(*inputs), of_torch=False)

    @promise(see)
    def pickles(subject: Subject) -> None:
        """A module can be copied and pickled, and computes the same after."""
        module, inputs, _ = trial(subject)
        with seeded(3):
            expected = module.eval()(*inputs)
        for how, copied in (
            ("copy.deepcopy", copy.deepcopy(module)),
            ("pickle", pickle.loads(pickle.dumps(module))),
        ):
            with seeded(3):
                found = copied(*inputs)
            expect(same(found, expected), f"{how} gives another module")

    @promise(see)
    def on_meta(subject: Subject) -> None:
        """A module is built and called on the meta device, where models are counted."""
        module, inputs, _ = trial(subject)
        expected = [list(part.shape) for part in outputs(module.train()(*inputs))]
        with torch.device("meta"):
            sketched = trial(subject).module
            on_it = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), inputs)
            parts = outputs(sketched.train()(*on_it))
        found = [list(part.shape) for part in parts]
        expect(found == expected, f"shapes {found} for {expected}")
        devices = {part.device.type for part in parts}
        expect(devices == {"meta"}, f"outputs on {', '.join(devices)}")

    @promise(see)
    def bf16(subject: Subject) -> None:
        """Under autocast to bfloat16, outputs and gradients are finite."""
        module, inputs, _ = trial(subject)
        with seeded(1), torch.autocast("cpu", torch.bfloat16):
            found = module.train()(*inputs)
            expect(all(bool(o.isfinite().all()) for o in outputs(found)), "outputs are not finite")
        with seeded(1):
            grads = gradients(module, inputs, autocast=True)
        infinite = [name for name, g in grads.items() if g is not None and not g.isfinite().all()]
        expect(not infinite, f"gradients are not finite in {', '.join(infinite[:8])}")

    @promise(see, slow=True)
    def compiles(subject: Subject) -> None:
        """One full graph with symbolic sizes under torch.compile, a loss within 1e-5 of eager's."""
        module, inputs, _ = trial(subject)
        with seeded(4):
            plain = score(module.train()(*inputs)).item()
        torch._dynamo.reset()
        try:
            compiled: Any = torch.compile(
                module, fullgraph=True, dynamic=True, backend=subject.setup.backend
            )
            with seeded(4):
                found = score(compiled(*inputs)).item()
        except torch._dynamo.exc.Unsupported as error:
            expect(False, f"the graph breaks: {str(error).strip().splitlines()[0]}")
        finally:
            torch._dynamo.reset()
        close = abs(found - plain) <= _CLOSE * max(1.0, abs(plain))
        expect(close, f"a loss of {found:.8g} compiled, {plain:.8g} eager")

    @promise(see, slow=True)
    def distributed(subject: Subject) -> None:
        """Two processes that share a batch find the gradients of one that has all of it."""
        module, inputs, _ = trial(subject)
        with seeded(5):
            alone = gradients(module.eval(), inputs)
        together = gradients_of_two(module, inputs, 5)
        for name, expected in alone.items():
            found = together[name]
            expect((found is None) == (expected is None), f"{name} has a gradient in one case")
            if found is not None and expected is not None:
                error = float((found - expected).abs().max() / (expected.abs().max() + 1e-12))
                expect(error <= 1e-3, f"{name}: gradients differ by {error:.1e} of their size")

    always = (gradient_reaches_every_parameter, repeats, generators, pickles, on_meta, bf16)
    return (*always, compiles, distributed) if compiled else (*always, distributed)
