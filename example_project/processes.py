"""Child processes that end when this one does."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from example_project.settings import ROOT

__all__ = ["running", "tail"]

# Dagster takes a few seconds to end its own children, longer on a busy machine.
_STOP_SECONDS: Final = 30.0

_PR_SET_PDEATHSIG: Final = 1  # from linux/prctl.h


@contextlib.contextmanager
def running(module: str, *arguments: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `python -m MODULE ARGUMENTS` in the background; ends it with the block.

    Args:
        module: A module of this interpreter's environment, which need not be activated.
        *arguments: What it is given.
        log: The file that its output is appended to.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - no shell, and no text from outside
            [sys.executable, "-m", module, *arguments],
            # Where `example_project` can be imported from.
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C in the terminal reaches this process alone, which then
            # ends its children in the right order.
            start_new_session=True,
            preexec_fn=_interrupted_with_parent(),
        )
    try:
        yield process
    finally:
        _end(process)


def tail(log: Path, lines: int = 30) -> str:
    """The last lines of a log file."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # As Ctrl-C, which Dagster takes as the wish to end in order, children first.
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    if process.stdin is not None:
        process.stdin.close()
    # Whatever is left of its group, of which it was the leader.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _interrupted_with_parent() -> Callable[[], object] | None:
    """On Linux, what makes a child be interrupted even if this process is killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # Looked up now: little is allowed between fork and exec.
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGINT))
