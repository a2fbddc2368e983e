"""Several processes: they step together, skip together, and fail together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from faulty_objective import ENTRY_POINTS, USES_FAULTY
from PIL import Image
from safetensors.torch import load_file
from tiny_run import (
    ALONE,
    TENSOR_FILES,
    Starter,
    arguments,
    checkpoint_steps,
    free_port,
    marks,
    records,
    starter,
)

from jepa.core.errors import ConfigError, JepaError
from jepa.core.training import distributed
from jepa.core.training.checkpoint import newest_valid
from jepa.core.training.distributed import World
from jepa.core.training.runfolder import RunFolder

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
EACH_STEP = ("checkpoint.every=1", "checkpoint.keep_last=20")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    site = tmp_path_factory.mktemp("site")
    info = site / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    text = "\n".join(
        f"[{group}]\n" + "\n".join(f"{name} = {target}" for name, target in named.items())
        for group, named in ENTRY_POINTS.items()
    )
    (info / "entry_points.txt").write_text(text + "\n")
    with starter(tmp_path_factory.mktemp("logs"), path=(site, HERE)) as made:
        yield made


@pytest.fixture(autouse=True)
def _fresh_logs(run: Starter) -> None:
    for log in run.logs.iterdir():
        log.unlink()


def tensors(output: Path, step: int) -> dict[str, torch.Tensor]:
    folder = output / "checkpoints" / f"step_{step:08d}"
    return {
        f"{stem}/{name}": tensor
        for stem in TENSOR_FILES
        for name, tensor in load_file(folder / f"{stem}.safetensors").items()
    }


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def calls(*steps: int) -> str:
    """Calls of the objective in those steps: the rehearsal is call 0."""
    return ",".join(str(step + 1) for step in steps)


@pytest.mark.parametrize(
    ("accumulate", "parts"),
    [
        (1, ("model.objective={name: smooth_l1, normalise: layer}",)),
        (2, ("model.objective={name: smooth_l1, normalise: layer}",)),
        # Statistics are those of the whole batch, so two processes must share them.
        (1, ("model.objective={name: smooth_l1, normalise: batch}",)),
        (1, ("model.target=shared", "model.regularizers=[vicreg, {name: sigreg, over: tokens}]")),
    ],
)
def test_two_processes_compute_what_one_does(
    run: Starter, tmp_path: Path, accumulate: int, parts: tuple[str, ...]
) -> None:
    settings = ("train.max_steps=3", *EACH_STEP, *parts)
    run.run(arguments(tmp_path / "one", *settings), 1)
    run.run(arguments(tmp_path / "two", *settings, f"train.accumulate={accumulate}"), 2)
    one, two = tensors(tmp_path / "one", 1), tensors(tmp_path / "two", 1)
    moments = [name for name in one if name.endswith(".exp_avg")]
    scale = max(one[name].abs().max().item() for name in moments)
    for name in moments:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-6 * scale, msg=name)
    for name in ("train/loss", "train/grad_norm", "train/context_tokens"):
        wanted = [r[name] for r in records(tmp_path / "one")]
        assert [r[name] for r in records(tmp_path / "two")] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("kind", ["nan", "inf_loss"])
def test_a_fault_on_one_process_is_skipped_by_all(run: Starter, tmp_path: Path, kind: str) -> None:
    argv = arguments(tmp_path, "train.max_steps=6", *EACH_STEP, USES_FAULTY)
    run.run(argv, 2, FAULTY_RANK="1", FAULTY_KIND=kind, FAULTY_CALLS=calls(2, 3))
    held = {step: tensors(tmp_path, step) for step in range(1, 7)}
    assert equal(held[2], held[3])
    assert equal(held[3], held[4])
    for before, after in ((1, 2), (4, 5), (5, 6)):
        assert not equal(held[before], held[after])
    seen = records(tmp_path)
    assert [r["train/bad_steps"] for r in seen] == [0, 0, 1, 2, 2, 2]
    assert [r["train/bad_steps_in_a_row"] for r in seen] == [0, 0, 1, 2, 0, 0]
    assert [r["step"] for r in seen if "notes" in r] == [3, 4]
    # Both hold the same weights: what the other computes from here on is the same.
    again = tmp_path / "again"
    shutil.copytree(tmp_path, again, ignore=shutil.ignore_patterns("again"))
    shutil.rmtree(again / "checkpoints" / "step_00000006")
    shutil.rmtree(again / "checkpoints" / "step_00000005")
    run.run(arguments(again, "train.max_steps=6", *EACH_STEP, USES_FAULTY), 2)
    assert equal(tensors(again, 6), held[6])


def test_too_many_faults_in_a_row_stop_all(run: Starter, tmp_path: Path) -> None:
    limit = ("train.max_steps=20", "train.max_bad_steps=3")
    argv = arguments(tmp_path, *limit, *EACH_STEP, USES_FAULTY)
    faults = calls(*range(2, 20))
    assert run.codes(argv, 2, FAULTY_RANK="1", FAULTY_KIND="nan", FAULTY_CALLS=faults) == [1, 1]
    said = run.said()
    for words in ("3 steps in a row", "optim.lr", "train.precision=fp32"):
        assert words in said
    assert "Traceback" not in said
    assert marks(tmp_path) == set()
    found, reports = newest_valid(tmp_path / "checkpoints")
    assert found is not None
    assert reports == []
    assert checkpoint_steps(tmp_path)[-1] == found.step == 4


def test_one_process_out_of_memory_ends_all(run: Starter, tmp_path: Path) -> None:
    argv = arguments(tmp_path, "train.max_steps=6", *EACH_STEP, USES_FAULTY)
    faults = {"FAULTY_RANK": "1", "FAULTY_KIND": "cuda_oom", "FAULTY_CALLS": calls(2)}
    codes = run.codes(argv, 2, **faults)
    assert codes[1] == 1
    assert codes[0] != 0
    assert "jepa: process 1: out of memory" in run.said()
    assert "train.accumulate=2" in run.said()
    assert checkpoint_steps(tmp_path) == [1, 2]


def test_a_wrong_config_ends_all_with_the_code_of_wrong_configs(
    run: Starter, tmp_path: Path
) -> None:
    argv = arguments(tmp_path / "run", "train.global_batch=9", "train.max_steps=1")
    assert run.codes(argv, 2) == [2, 2]
    assert "train.global_batch: found 9" in run.said()
    assert "8 or 10" in run.said()


def test_missing_data_end_all(run: Starter, tmp_path: Path) -> None:
    missing = ("data.source={name: folder}", f"data.root={tmp_path / 'nowhere'}")
    argv = arguments(tmp_path / "run", *missing, "train.max_steps=1")
    assert run.codes(argv, 2) == [1, 1]
    assert "nowhere" in run.said()
    assert not (tmp_path / "run").exists()


def test_processes_that_see_other_samples_are_refused(run: Starter, tmp_path: Path) -> None:
    for name, number in (("a", 40), ("b", 39)):
        (tmp_path / name).mkdir()
        for place in range(number):
            Image.new("L", (28, 28), place).save(tmp_path / name / f"{place:02d}.png")
    argv = arguments(tmp_path / "run", "data.source={name: folder}", "train.max_steps=2")
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    pids = [
        run.start(argv, RANK=rank, LOCAL_RANK=rank, JEPA_DATA=str(tmp_path / name), **together)
        for rank, name in (("0", "a"), ("1", "b"))
    ]
    assert [run.wait(pid) for pid in pids] == [1, 1]
    assert "the first has 40, process 1 has 39" in run.said()
    assert not (tmp_path / "run").exists()


def test_damaged_samples_of_every_process_are_listed_by_the_first(
    run: Starter, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for place in range(32):
        path = tmp_path / "data" / f"{place:02d}.png"
        Image.new("L", (28, 28), place).save(path)
        if place % 4 == 0:
            path.write_bytes(b"damaged")
    settings = ("data.source={name: folder}", f"data.root={tmp_path / 'data'}")
    argv = arguments(
        tmp_path / "run", *settings, "data.max_bad_fraction=0.3", "train.max_steps=4",
        "optim.warmup_epochs=0",
    )  # fmt: skip
    run.run(argv, 2)
    listed = (tmp_path / "run" / "bad_samples.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in listed) == list(range(0, 32, 4))
    argv = arguments(
        tmp_path / "few", *settings, "data.max_bad_fraction=0.1", "train.max_steps=4",
        "optim.warmup_epochs=0",
    )  # fmt: skip
    assert run.codes(argv, 2) == [1, 1]
    assert "data.max_bad_fraction allows 10.0%" in run.said()


def test_a_folder_in_use_ends_all(run: Starter, tmp_path: Path) -> None:
    holder = RunFolder(tmp_path / "run")
    holder.lock()
    argv = arguments(tmp_path / "run", "train.max_steps=1")
    assert run.codes(argv, 2) == [1, 1]
    assert "trains into this folder" in run.said()
    holder.unlock()


# --- one process --------------------------------------------------------------------------------


def test_alone_nothing_is_asked_of_others() -> None:
    assert ALONE.is_first
    assert ALONE.sum([1.0, 2.0]) == [1.0, 2.0]
    assert ALONE.mean_(torch.tensor([3.0])).tolist() == [3.0]
    assert ALONE.gather(4.0) == [4.0]
    assert ALONE.from_first("x") == "x"
    ALONE.agree(None)
    with pytest.raises(JepaError, match="disk"):
        ALONE.agree("disk full")
    distributed.leave(ALONE, 1)


def test_start_without_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert distributed.start("auto") == World(0, 1, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"train\.device: found cuda"):
        distributed.start("cuda")


def test_each_process_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="process 2 of this machine has no GPU of its own"):
        distributed.start("auto")
