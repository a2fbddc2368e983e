"""The trainer on one process: skipped steps, accumulation, clipping, memory, precision."""

from __future__ import annotations

import itertools
import math
import random
import re
from pathlib import Path

import pytest
import torch
from faulty_objective import ENTRY_POINTS, USES_FAULTY
from safetensors.torch import load_file
from tiny_run import TENSOR_FILES, checkpoint_steps, records, train, weights
from torch import Tensor

from jepa.core.errors import TrainingError
from jepa.core.training import cost, precision
from jepa.core.training.checkpoint import newest_valid


@pytest.fixture
def faulty(packages, monkeypatch):
    """Sets kind and calls of the faults of the objective `faulty`."""
    packages.add("faulty", ENTRY_POINTS)

    def choose(kind: str, calls: range | tuple[int, ...]) -> None:
        monkeypatch.setenv("FAULTY_KIND", kind)
        monkeypatch.setenv("FAULTY_CALLS", ",".join(map(str, calls)))

    return choose


def tensors(output: Path, step: int) -> dict[str, Tensor]:
    """Every tensor of a checkpoint."""
    folder = output / "checkpoints" / f"step_{step:08d}"
    return {
        f"{stem}/{name}": tensor
        for stem in TENSOR_FILES
        for name, tensor in load_file(folder / f"{stem}.safetensors").items()
    }


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not equal to the bit."""
    assert one.keys() == other.keys()
    return [name for name, tensor in one.items() if not torch.equal(tensor, other[name])]


EACH_STEP = ("checkpoint.every=1", "checkpoint.keep_last=20")


# --- steps that are skipped ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nan", "inf_loss", "inf_gradient"])
@pytest.mark.parametrize("clip", ["null", "1.0"])
def test_a_step_that_is_not_finite_changes_nothing(faulty, tmp_path, kind, clip):
    faulty(kind, (0, 3, 4))
    settings = [USES_FAULTY, *EACH_STEP, f"optim.clip_grad={clip}"]
    assert train(tmp_path, "train.max_steps=7", *settings) == "completed"
    held = {step: tensors(tmp_path, step) for step in range(1, 8)}

    started = held[1]
    moments = {n: t for n, t in started.items() if n.endswith((".exp_avg", ".exp_avg_sq", ".step"))}
    assert len(moments) > 30
    assert not any(t.any() for t in moments.values())
    assert differing(held[3], held[4]) == []
    assert differing(held[4], held[5]) == []
    for before, after in ((1, 2), (2, 3), (5, 6), (6, 7)):
        changed = differing(held[before], held[after])
        assert any(name.startswith("model/") for name in changed)
        assert any(name.startswith("target/") for name in changed)
    counts = {int(t) for n, t in held[7].items() if n.endswith(".step")}
    assert counts == {4}

    seen = records(tmp_path)
    assert [r["train/bad_steps"] for r in seen] == [1, 1, 1, 2, 3, 3, 3]
    assert [r["train/bad_steps_in_a_row"] for r in seen] == [1, 0, 0, 1, 2, 0, 0]
    assert [r["train/loss"] is None for r in seen] == [True, False, False, True, True, False, False]
    noted = [r["step"] for r in seen if "notes" in r]
    assert noted == [1, 4, 5]
    assert "non-finite" in seen[0]["notes"][0]


def test_only_the_taken_steps_count_in_the_mean(faulty, tmp_path):
    faulty("nan", (1,))
    train(tmp_path / "a", "train.max_steps=3", "train.log_every=3", USES_FAULTY)
    train(tmp_path / "b", "train.max_steps=3", USES_FAULTY)
    (mean,) = records(tmp_path / "a")
    single = [r["train/loss"] for r in records(tmp_path / "b")]
    assert single[1] is None
    assert mean["train/loss"] == pytest.approx((single[0] + single[2]) / 2)
    assert mean["notes"] == ["1 steps with a non-finite loss or gradient were skipped"]


def test_a_resumed_run_does_not_note_old_faults_again(faulty, tmp_path):
    faulty("nan", (1, 2))
    train(tmp_path, "train.max_steps=4", USES_FAULTY)
    faulty("nan", ())
    train(tmp_path, "train.max_steps=6", USES_FAULTY)
    seen = records(tmp_path)
    assert [r["train/bad_steps"] for r in seen] == [0, 1, 2, 2, 2, 2]
    assert [r["step"] for r in seen if "notes" in r] == [2, 3]


def test_too_many_in_a_row_stop_the_run_and_say_what_to_try(faulty, tmp_path):
    faulty("nan", range(4, 100))
    with pytest.raises(TrainingError, match=r"step 7: 3 steps in a row") as caught:
        train(tmp_path, "train.max_steps=20", "train.max_bad_steps=3", USES_FAULTY, *EACH_STEP)
    for advice in ("optim.lr", "optim.warmup_epochs", "optim.clip_grad", "train.precision=fp32"):
        assert advice in str(caught.value)
    found, reports = newest_valid(tmp_path / "checkpoints")
    assert found is not None
    assert (found.step, reports) == (6, [])
    assert differing(tensors(tmp_path, 4), tensors(tmp_path, 6)) == []
    assert not (tmp_path / "COMPLETED").exists()


def test_bad_steps_apart_do_not_add_up(faulty, tmp_path):
    faulty("nan", (0, 1, 3, 4, 6, 7))
    done = train(tmp_path, "train.max_steps=9", "train.max_bad_steps=3", USES_FAULTY)
    assert done == "completed"


def test_a_row_of_bad_steps_goes_on_over_a_resume(faulty, tmp_path):
    faulty("nan", range(2, 4))
    train(tmp_path, "train.max_steps=4", "train.max_bad_steps=3", USES_FAULTY)
    faulty("nan", (0,))
    with pytest.raises(TrainingError, match="step 5: 3 steps in a row"):
        train(tmp_path, "train.max_steps=6", "train.max_bad_steps=3", USES_FAULTY)


# --- accumulation and clipping ------------------------------------------------------------------


def gradients(output: Path) -> dict[str, Tensor]:
    """The first step's gradients: AdamW's first moment is 0.1 of them."""
    return {n: t / 0.1 for n, t in tensors(output, 1).items() if n.endswith(".exp_avg")}


def test_accumulation_gives_the_same_gradients(tmp_path):
    # Normalisation by batch is over a micro-step, so it would differ.
    settings = ("train.max_steps=1", "model.objective.normalise=layer")
    for micro_steps in (1, 2, 4):
        train(tmp_path / str(micro_steps), *settings, f"train.accumulate={micro_steps}")
    whole = gradients(tmp_path / "1")
    scale = max(t.abs().max().item() for t in whole.values())
    for micro_steps in (2, 4):
        for name, found in gradients(tmp_path / str(micro_steps)).items():
            torch.testing.assert_close(found, whole[name], rtol=1e-4, atol=1e-6 * scale, msg=name)
        (one,), (cut,) = records(tmp_path / "1"), records(tmp_path / str(micro_steps))
        assert cut["train/loss"] == pytest.approx(one["train/loss"], rel=1e-5)
        assert cut["train/grad_norm"] == pytest.approx(one["train/grad_norm"], rel=1e-4)


def test_clipping_bounds_the_gradient_and_logs_what_it_was(tmp_path):
    train(tmp_path / "free", "train.max_steps=1")
    train(tmp_path / "clipped", "train.max_steps=1", "optim.clip_grad=1e-3")
    train(tmp_path / "loose", "train.max_steps=1", "optim.clip_grad=1e3")

    def norm(output: Path) -> float:
        return float(torch.stack([t.norm() for t in gradients(output).values()]).norm())

    (free,), (clipped,) = records(tmp_path / "free"), records(tmp_path / "clipped")
    assert (
        free["train/grad_norm"]
        == clipped["train/grad_norm"]
        == pytest.approx(norm(tmp_path / "free"), rel=1e-4)
    )
    assert free["train/grad_norm"] > 1e-2
    assert norm(tmp_path / "clipped") == pytest.approx(1e-3, rel=1e-3)
    assert weights(tmp_path / "loose", 1) == weights(tmp_path / "free", 1)


def test_clipping_from_an_epoch_on_also_in_a_resumed_run(tmp_path):
    each = (
        "train.steps_per_epoch=2",
        "train.max_steps=5",
        "checkpoint.every=1",
        "checkpoint.keep_last=5",
    )
    clip = ("optim.clip_grad=1e-3", "optim.clip_of=parts", "optim.clip_from_epoch=1.0")
    train(tmp_path / "free", *each)
    train(tmp_path / "whole", *each, *clip)
    for step, same in ((1, True), (2, True), (3, False)):
        assert (weights(tmp_path / "whole", step) == weights(tmp_path / "free", step)) is same
    train(tmp_path / "cut", *each, *clip, "train.epochs=2.5", "train.max_steps=1")
    train(tmp_path / "cut", *each, *clip, "train.epochs=2.5")
    train(tmp_path / "uncut", *each, *clip, "train.epochs=2.5")
    assert weights(tmp_path / "cut", 5) == weights(tmp_path / "uncut", 5)


def test_the_gradient_s_parts_are_clipped_apart(tmp_path):
    clip = ("optim.clip_grad=1e-4", "optim.clip_of=parts")
    train(tmp_path, "train.max_steps=1", *clip)
    squares: dict[str, float] = {}
    for name, gradient in gradients(tmp_path).items():
        part = name.removeprefix("optimizer/").partition(".")[0]
        squares[part] = squares.get(part, 0.0) + float(gradient.square().sum())
    assert set(squares) == {"backbone", "predictor"}
    for part, square in squares.items():
        assert math.sqrt(square) == pytest.approx(1e-4, rel=1e-2), part


# --- memory -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cuda_oom", "cpu_oom", "memory_error"])
def test_out_of_memory_says_what_to_lower(faulty, tmp_path, kind):
    faulty(kind, (1,))
    with pytest.raises(TrainingError, match="out of memory in a micro-step of 8") as caught:
        train(tmp_path, "train.max_steps=3", USES_FAULTY, *EACH_STEP)
    for advice in ("train.accumulate=2", "activation_checkpointing", "precision=bf16"):
        assert advice in str(caught.value)
    assert checkpoint_steps(tmp_path) == [1]


@pytest.mark.parametrize(
    ("batch", "accumulate", "advised"), [(8, 2, 4), (12, 4, 12), (9, 1, 3), (9, 3, 9), (8, 8, None)]
)
def test_the_advised_accumulation_divides_the_batch(faulty, tmp_path, batch, accumulate, advised):
    faulty("cuda_oom", (0,))
    shared = (f"train.global_batch={batch}", f"train.accumulate={accumulate}")
    with pytest.raises(TrainingError) as caught:
        train(tmp_path, "train.max_steps=3", USES_FAULTY, *shared)
    found = re.findall(r"train\.accumulate=(\d+)", str(caught.value))
    assert found == ([] if advised is None else [str(advised)])


def test_other_errors_pass_as_they_are(faulty, tmp_path):
    faulty("broken", (0,))
    with pytest.raises(RuntimeError, match="expected scalar type Float"):
        train(tmp_path, "train.max_steps=3", USES_FAULTY)


# --- precision ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "device", "units", "dim", "rows", "chosen"),
    [
        ("fp32", "cpu", "amx_bf16", 1024, 1 << 20, "fp32"),
        ("bf16", "cpu", "", 16, 16, "bf16"),
        ("auto", "cpu", "avx512_bf16", 768, 8192, "bf16"),
        ("auto", "cpu", "avx512_bf16", 128, 8192, "fp32"),
        ("auto", "cpu", "avx512_bf16 amx_bf16", 128, 2048, "bf16"),
        ("auto", "cpu", "avx512_bf16 amx_bf16", 96, 8192, "fp32"),
        ("auto", "cpu", "amx_bf16", 768, 512, "fp32"),
        ("auto", "cpu", "", 768, 8192, "fp32"),
        ("auto", "cuda", "bf16", 16, 16, "bf16"),
        ("auto", "cuda", "", 768, 8192, "fp32"),
        ("auto", "meta", "amx_bf16", 768, 8192, "fp32"),
    ],
)
def test_precision_is_decided_by_hardware_and_size(
    monkeypatch, wanted, device, units, dim, rows, chosen
):
    monkeypatch.setattr(precision, "cpu_capabilities", lambda: dict.fromkeys(units.split(), True))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bool(units))
    found = precision.resolve(wanted, torch.device(device), dim=dim, rows=rows)
    assert found == chosen


def encoder_gradients(output: Path) -> list[bool]:
    return [
        bool(gradient.any())
        for name, gradient in gradients(output).items()
        if "backbone.encoder" in name and name.endswith(".weight.exp_avg") and "qkv" in name
    ]


def test_bf16_reaches_the_weights_of_a_shared_target(tmp_path):
    settings = ("model.target={name: online}", "train.precision=bf16", "train.max_steps=1")
    train(tmp_path / "a", *settings)
    assert encoder_gradients(tmp_path / "a") == [True]


def test_bf16_is_near_fp32(tmp_path):
    for numbers in ("fp32", "bf16"):
        train(tmp_path / numbers, f"train.precision={numbers}", "train.max_steps=5")
    full, half = (records(tmp_path / numbers) for numbers in ("fp32", "bf16"))
    assert [r["train/loss"] for r in half] != [r["train/loss"] for r in full]
    assert [r["train/loss"] for r in half] == pytest.approx(
        [r["train/loss"] for r in full], rel=2e-2
    )


# --- randomness ---------------------------------------------------------------------------------


def test_a_run_does_not_depend_on_generators_outside(tmp_path):
    settings = (
        "model.encoder={name: vit, depth: 2, heads: 2, drop_path: 0.5}",
        "train.max_steps=3",
    )
    for seed in (1, 2):
        torch.manual_seed(seed)
        random.seed(seed)
        train(tmp_path / str(seed), *settings)
    assert weights(tmp_path / "1", 3) == weights(tmp_path / "2", 3)
    train(tmp_path / "other", *settings, "train.seed=1")
    assert weights(tmp_path / "other", 3) != weights(tmp_path / "1", 3)


def test_a_part_that_reads_its_tensors_trains_too(faulty, tmp_path, monkeypatch):
    # It cannot be counted on the meta device, so utilisation is unknown.
    monkeypatch.setenv("FAULTY_READS", "1")
    train(tmp_path / "faulty", "train.max_steps=1", USES_FAULTY)
    (seen,) = records(tmp_path / "faulty")
    assert seen["train/loss"] > 0
    assert "perf/mfu" not in seen
    train(tmp_path / "plain", "train.max_steps=1")
    (plain,) = records(tmp_path / "plain")
    assert 0 < plain["perf/mfu"] < 1
    assert seen["perf/samples_per_s"] > 0


def test_the_device_is_measured_by_no_more_work_than_it_takes(monkeypatch):
    clock = itertools.count(step=1.0)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert cost.peak_flops(torch.device("cpu"), bf16=False) == 2.0 * 256**3
