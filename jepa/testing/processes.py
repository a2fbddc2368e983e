"""Gradients of a batch that two processes share under DDP."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

from jepa.core.build import seeded
from jepa.testing.promises import expect
from jepa.testing.scores import gradients

_LIMIT_S = 300.0
_PROGRAM = "import sys; from jepa.testing.processes import main; main(*sys.argv[1:])"


def gradients_of_two(
    module: nn.Module, inputs: tuple[Any, ...], seed: int
) -> dict[str, Tensor | None]:
    """Gradients of a module's score, in evaluation mode, by two processes of gloo.

    Args:
        module: one that pickles.
        inputs: a batch for it, of an even number of samples.
        seed: of torch's generator in the first process; the second has the next.
    """
    with tempfile.TemporaryDirectory() as folder:
        job, found = Path(folder, "job"), Path(folder, "found")
        job.write_bytes(pickle.dumps((module, inputs, seed)))
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, str(job), str(found)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
        told = done.stderr.strip().splitlines() or ["nothing was said"]
        first = _fault(job).read_text("utf-8") if _fault(job).exists() else told[-1]
        expect(done.returncode == 0 and found.exists(), f"two processes failed: {first}")
        read: dict[str, Tensor | None] = torch.load(io.BytesIO(found.read_bytes()))
    return read


def main(job: str, found: str) -> None:
    """Fork, be both processes, and write what they found: in an interpreter of its own."""
    sys.excepthook = lambda kind, error, trace: _tell(_fault(Path(job)), kind, error, trace)
    module, inputs, seed = pickle.loads(Path(job).read_bytes())
    torch.set_num_threads(1)
    rank = 1 if (child := os.fork()) else 0
    dist.init_process_group("gloo", init_method=f"file://{job}.store", rank=rank, world_size=2)
    share = tree_map_only(Tensor, lambda tensor: tensor.chunk(2)[rank], inputs)
    trained = any(parameter.requires_grad for parameter in module.parameters())
    wrapped = DistributedDataParallel(module.eval()) if trained else module.eval()
    # Processes draw differently, as in training, and the first as one process alone does.
    with seeded(seed + rank):
        grads = gradients(wrapped, share)
    if rank == 1:
        torch.save({name.removeprefix("module."): g for name, g in grads.items()}, found)
        dist.barrier()
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status))
    dist.barrier()
    os._exit(0)


def _fault(job: Path) -> Path:
    return job.with_suffix(".fault")


def _tell(
    fault: Path,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """What ends this process, in a file unless the other one wrote there.

    Whoever fails second does so since the other is gone, and that tells nothing.
    """
    with contextlib.suppress(FileExistsError), fault.open("x", encoding="utf-8") as out:
        out.write(f"{kind.__name__}: {error}")
    sys.__excepthook__(kind, error, trace)
