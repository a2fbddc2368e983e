"""The masks of the fixed batch, which is smaller or larger than what is trimmed together."""

import pytest
import torch

from jepa.core.build import build
from jepa.core.config import load_run
from jepa.core.training.fixed import fixed_masks

CPU = torch.device("cpu")
GROUPED = [
    "{name: multiblock, min_keep: 4, trim_group: %d}",
    "{name: multiblock_official, min_keep: 4, trim_group: %d}",
    "{name: tube, num_targets: 3, min_keep: 4, trim_group: %d}",
    "{name: spans, length: 2, min_keep: 4, trim_group: %d}",
    "{name: curriculum, first: {name: tube, num_targets: 2, min_keep: 4, trim_group: %d},"
    " last: random}",
]


@pytest.mark.parametrize("group", [8, 24, 64, 128])
@pytest.mark.parametrize("masks", GROUPED)
def test_groups_of_any_size_make_one_batch(masks: str, group: int) -> None:
    config = load_run("image/quickstart", [f"masks=[{masks % group}]"])
    built = build(config)
    (found,) = fixed_masks(built.samplers, 0, 64, CPU)
    (again,) = fixed_masks(built.samplers, 0, 64, CPU)
    assert found.context.shape[0] == found.targets.shape[0] == 64
    for part, repeated in zip(found, again, strict=True):
        assert torch.equal(part, repeated)
        assert (part.diff(dim=-1) > 0).all()
        assert part.min() >= 0
        assert part.max() < built.grid.size


def test_a_batch_of_one_group_is_as_the_sampler_draws_it() -> None:
    whole = build(load_run("image/quickstart", ["masks=[{name: multiblock, min_keep: 4}]"]))
    grouped = build(
        load_run("image/quickstart", ["masks=[{name: multiblock, min_keep: 4, trim_group: 64}]"])
    )
    (a,), (b,) = (fixed_masks(built.samplers, 3, 64, CPU) for built in (whole, grouped))
    assert torch.equal(a.context, b.context)
    assert torch.equal(a.targets, b.targets)


def test_groups_are_cut_evenly_over_the_grid() -> None:
    """Not in raster order, which would show observers the top of the grid alone."""
    built = build(
        load_run(
            "image/quickstart", ["masks=[{name: tube, num_targets: 2, min_keep: 4, trim_group: 1}]"]
        )
    )
    found = [fixed_masks(built.samplers, seed, 64, CPU)[0].context for seed in range(40)]
    counts = torch.bincount(torch.cat([part.flatten() for part in found]), minlength=49).view(7, 7)
    top, bottom = counts[:3].sum().item(), counts[4:].sum().item()
    assert abs(top - bottom) / (top + bottom) < 0.05
