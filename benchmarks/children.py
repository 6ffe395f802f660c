"""The processes of the benchmark, as its program sees them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from benchmarks.measuring import Found, Measurement, Task

__all__ = ["BenchmarkError", "Worker", "running_server", "running_worker"]

_ROOT: Final = Path(__file__).resolve().parents[1]


class BenchmarkError(Exception):
    """A way found something else than the others, or could not do its work."""


class Worker:
    """A process that does one way's tasks, one after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @cached_property
    def missing(self) -> str | None:
        """Why it can do nothing, if what it needs is not installed."""
        missing: str | None = self._read()["missing"]
        return missing

    def begin(self, task: Task) -> None:
        """Starts a task and does not wait for it."""
        assert self.missing is None
        _pipe(self._process.stdin).write(json.dumps(asdict(task)) + "\n")
        _pipe(self._process.stdin).flush()

    def end(self) -> Measurement:
        """Waits for the task.

        Raises:
            BenchmarkError: It failed.
        """
        told = self._read()
        if "error" in told:
            raise BenchmarkError(told["error"])
        found, task = Found(**told.pop("found")), Task(**told.pop("task"))
        return Measurement(found=found, task=task, **told)

    def measure(self, task: Task) -> Measurement:
        """Does a task.

        Raises:
            BenchmarkError: It failed.
        """
        self.begin(task)
        return self.end()

    def _read(self) -> Any:
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise BenchmarkError(f"A child ended without an answer: {self._process.args!r}")
        return json.loads(line)


@contextlib.contextmanager
def running_worker(way: str) -> Iterator[Worker]:
    """Runs a worker; it ends with the block."""
    with _running("benchmarks.worker", way) as process:
        yield Worker(process)


@contextlib.contextmanager
def running_server(sizes: Sequence[int], *, new: int, latency: float) -> Iterator[dict[str, str]]:
    """Runs the server; it ends with the block.

    Yields:
        Its endpoints: `before` and `after` the new objects came, and `far`, which has the latency.
    """
    options = {"sizes": ",".join(map(str, sizes)), "new": str(new), "latency": str(latency)}
    with _running("benchmarks.server", json.dumps(options)) as process:
        line = _pipe(process.stdout).readline()
        if not line:
            raise BenchmarkError("The server did not start")
        yield json.loads(line)


@contextlib.contextmanager
def _running(module: str, argument: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - no shell, and no text from outside
        [sys.executable, "-m", module, argument],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # A group of its own, so that the forks of a worker end with it.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _pipe(process.stdin).close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _pipe(process.stdout).close()


def _pipe(pipe: Any) -> Any:
    assert pipe is not None
    return pipe
