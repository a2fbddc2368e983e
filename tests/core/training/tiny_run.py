"""A run that is over in a few seconds, in this process or in others, for the trainer's tests."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from jepa.core.config import RunConfig, load_run
from jepa.core.training import session
from jepa.core.training.distributed import World
from jepa.core.training.observer import Outcome

TINY = (
    "model.dim=16",
    "model.encoder.depth=1",
    "model.encoder.heads=2",
    "model.predictor={name: vit, depth: 1, dim: 16, heads: 2}",
    "train.global_batch=8",
    "train.precision=fp32",
    "train.device=cpu",
    "train.log_every=1",
    "data.workers=0",
    "observers=[{name: jsonl}]",
)
"""Over `image/quickstart`: 28 x 28 pictures that come with the package, 49 tokens."""

TENSOR_FILES = ("model", "target", "optimizer")
LIMIT_S = 120.0
"""After which a process that should have done something is taken to hang."""

ALONE = World(0, 1, torch.device("cpu"))


def tiny(*overrides: str) -> RunConfig:
    """The tiny run's config with more overrides."""
    return load_run("image/quickstart", [*TINY, *overrides])


def train(output: Path, *overrides: str, allow_config_change: bool = False) -> Outcome:
    """Train the tiny run in this process."""
    return session.train(tiny(*overrides), output, ALONE, allow_config_change=allow_config_change)


def arguments(output: Path, *overrides: str, more: Sequence[str] = ()) -> list[str]:
    """What comes after `jepa` on the command line of the tiny run."""
    given = [*TINY, *overrides]
    return ["train", "--config", "image/quickstart", "--output", str(output), *more, *given]


def environment(**more: str) -> dict[str, str]:
    """For processes that share two cores."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **more}


def records(output: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    path = output / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def step_reached(output: Path, since: float = 0.0) -> int:
    """The last step that metrics.jsonl shows, of lines written since a time; 0 before the first."""
    return max((r["step"] for r in records(output) if r["time"] >= since), default=0)


def exact(output: Path) -> list[dict[str, Any]]:
    """The records less what clocks and memory give, which no two runs share."""
    changing = ("time", "perf/")
    return [
        {name: value for name, value in record.items() if not name.startswith(changing)}
        for record in records(output)
    ]


def checkpoint_steps(output: Path) -> list[int]:
    """Steps of the checkpoints, in their order."""
    return sorted(int(p.name[5:]) for p in (output / "checkpoints").glob("step_*"))


def weights(output: Path, step: int) -> dict[str, bytes]:
    """Every byte of a checkpoint's tensors."""
    folder = output / "checkpoints" / f"step_{step:08d}"
    return {stem: (folder / f"{stem}.safetensors").read_bytes() for stem in TENSOR_FILES}


def marks(output: Path) -> set[str]:
    """The markers that stand in the output folder."""
    return {name for name in ("COMPLETED", "INTERRUPTED") if (output / name).exists()}


def wait_for(what: str, happened: Any) -> None:
    """Poll until `happened()`."""
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {LIMIT_S:.0f} s in vain for {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port for the processes to meet at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_SERVER = """
import json, os, sys
import jepa.core.training.session, jepa.core.training.distributed, jepa.core.training.launch
import jepa.modalities.image, jepa.plugins.encoders.vit, jepa.plugins.predictors.vit
import jepa.plugins.targets.ema, jepa.plugins.masks.multiblock, jepa.observers.jsonl
import jepa.plugins.objectives.regression, jepa.modalities.image.embedded
from jepa.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        _, status = os.waitpid(asked["wait"], 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
        continue
    child = os.fork()
    if child == 0:
        os.setsid()
        log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.update(asked["env"])
        sys.argv = ["jepa", *asked["argv"]]
        code = 70
        try:
            code = main(asked["argv"])
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
"""


class Starter:
    """Starts `jepa ...` in processes of their own, forked from one that has imported torch.

    Importing takes seconds; a fork takes none.
    """

    def __init__(self, logs: Path, path: Sequence[Path]) -> None:
        self.logs = logs
        self._running: set[int] = set()
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(PYTHONPATH=os.pathsep.join(map(str, path))),
            text=True,
        )

    def _ask(self, asked: Mapping[str, Any]) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return int(self._server.stdout.readline())

    def start(self, argv: Sequence[str], **env: str) -> int:
        """Start one process; gives its id."""
        log = self.logs / f"log{env.get('RANK', '')}.txt"
        pid = self._ask({"argv": list(argv), "env": env, "log": str(log)})
        self._running.add(pid)
        return pid

    def start_several(self, argv: Sequence[str], processes: int, **env: str) -> list[int]:
        """Start processes that train together, as torchrun does; alone is one of one."""
        if processes == 1:
            return [self.start(argv, **env)]
        port = str(free_port())
        together = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        together |= {"LOCAL_WORLD_SIZE": str(processes), **env}
        return [
            self.start(argv, RANK=str(rank), LOCAL_RANK=str(rank), **together)
            for rank in range(processes)
        ]

    def wait(self, pid: int) -> int:
        """The exit code of a process, negative for a signal."""
        code = self._ask({"wait": pid})
        self._running.discard(pid)
        return code

    def codes(self, argv: Sequence[str], processes: int, **env: str) -> list[int]:
        """Start and wait; the exit codes."""
        return [self.wait(pid) for pid in self.start_several(argv, processes, **env)]

    def run(self, argv: Sequence[str], processes: int = 1, **env: str) -> None:
        """Start and wait until all ended well."""
        assert self.codes(argv, processes, **env) == [0] * processes, self.said()

    def said(self) -> str:
        """Everything that the processes printed so far."""
        return "\n".join(path.read_text() for path in sorted(self.logs.glob("log*.txt")))

    def close(self) -> None:
        """End the server, and what a failed test has left running."""
        for pid in self._running:
            kill(pid)
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(LIMIT_S)


@contextmanager
def starter(logs: Path, path: Sequence[Path] = ()) -> Iterator[Starter]:
    """A Starter for the tests of a module, whose processes find modules in `path` too."""
    logs.mkdir(parents=True, exist_ok=True)
    made = Starter(logs, path)
    try:
        yield made
    finally:
        made.close()


def kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
