"""`--nproc N`: start N processes of the same command on this machine, and mind them.

Needs no torch. `torchrun` sets the same environment, so both lead to the same trainer.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from jepa.core.errors import ConfigError

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
_LAUNCHER = "JEPA_LAUNCHER"
_PARENT = "JEPA_PARENT"
_GRACE_S = 10.0


def is_child() -> bool:
    """Whether `--nproc` started this process."""
    return _LAUNCHER in os.environ


def launch(nproc: int, arguments: Sequence[str]) -> int:
    """Run `python -m jepa ARGUMENTS` in `nproc` processes.

    Signals that stop a run are passed on once. When a process fails, the others are ended.

    Returns:
        0 if all processes ended well, else the first failure's exit code.

    Raises:
        ConfigError: nproc is below 1, or torchrun has started several processes already.
    """
    if nproc < 1:
        raise ConfigError(f"--nproc: found {nproc}, allowed: 1 or more")
    if "WORLD_SIZE" in os.environ:
        raise ConfigError("--nproc: torchrun has started several processes already; leave it out")
    port = _free_port()
    children: list[subprocess.Popen[bytes]] = []
    # A child inherits what is blocked, so that a signal waits until it can stop the run well
    # (`StopRequest`); here none comes between two children.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    for number in FORWARDED:
        signal.signal(number, lambda received, _: _pass_on(children, received))
    try:
        try:
            for rank in range(nproc):
                children.append(_start(rank, nproc, port, arguments))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        return _wait(children)
    finally:
        _end(children)


def mortal() -> dict[str, str]:
    """Environment of a child that calls `die_with_parent`; start it from the main thread.

    Linux ends the child when the thread that started it ends, not the process.
    """
    return {_PARENT: str(os.getpid())}


def die_with_parent() -> None:
    """In such a child: ask Linux to end this process when its parent dies, however it dies.

    The word is taken out of the environment, since it is for this process alone.
    """
    parent = os.environ.pop(_PARENT, None)
    if parent is None or not sys.platform.startswith("linux"):
        return
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    if os.getppid() != int(parent):
        os._exit(1)


def _start(rank: int, nproc: int, port: int, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    threads = str(max(1, (os.cpu_count() or 1) // nproc))
    environment = {
        "OMP_NUM_THREADS": threads,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(nproc),
        "LOCAL_WORLD_SIZE": str(nproc),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        _LAUNCHER: str(os.getpid()),
        **mortal(),
    }
    # A session of their own: Ctrl-C reaches the launcher alone, which passes it on once.
    return subprocess.Popen(
        [sys.executable, "-m", "jepa", *arguments], env=environment, start_new_session=True
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _pass_on(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> int:
    while True:
        codes = [child.poll() for child in children]
        failed = [code for code in codes if code not in (None, 0)]
        if failed:
            # A process that failed by a word of its own goes before those that lost it.
            return next((code for code in failed if code and code > 0), 1)
        if all(code == 0 for code in codes):
            return 0
        time.sleep(0.05)


def _end(children: Sequence[subprocess.Popen[bytes]]) -> None:
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + _GRACE_S
    for child in children:
        try:
            child.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
