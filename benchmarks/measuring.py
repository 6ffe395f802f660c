"""How one thing is measured, and the values that go between the program and its children."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Clock", "Found", "Measurement", "Task", "Work", "peak_memory", "reset_peak_memory"]

_MB: Final = 1_000_000
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What one child is to do.

    Attributes:
        way: The name of the way in `benchmarks.ways`.
        endpoint: The server's.
        bucket: What is listed.
        prefix: Below this.
        since: What was modified at or after this is new; ISO 8601.
        cursor: The checkpoint of the scan before, as the sensor stores it; empty without one.
        lanes: How many requests at once, where the way can choose.
        is_warm: It has been done once before in the same process, as by a sensor that ticks.
    """

    way: str
    endpoint: str
    bucket: str
    prefix: str
    since: str
    cursor: str = ""
    lanes: int = 1
    is_warm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way found. None where it does not tell.

    Attributes:
        listed: How many objects it saw.
        digest: Of their keys.
        new: How many of them it found to be new.
        new_digest: Of their keys.
        fast_pages: How many pages were read without botocore's parser.
        cursor: The checkpoint that follows, as the sensor stores it.
    """

    listed: int | None = None
    digest: str | None = None
    new: int | None = None
    new_digest: str | None = None
    fast_pages: int | None = None
    cursor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One thing, done once in a process of its own.

    Attributes:
        task: What was done.
        found: What it gave.
        cpu: Seconds of CPU, user and system, all threads, without imports and set-up.
        wall: Seconds.
        peak: The most memory that the process had meanwhile, in MB, imports included.
        base: What it had before.
        requests: LIST requests, counted by the server.
        server_cpu: Seconds of CPU of the server meanwhile.
    """

    task: Task
    found: Found
    cpu: float
    wall: float
    peak: float
    base: float
    requests: int
    server_cpu: float


class Clock:
    """Counts CPU and wall time while it runs.

    Attributes:
        cpu: Seconds, of all threads of this process.
        wall: Seconds.
    """

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves the block out of a count that is running: it is the benchmark's own work."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.cpu -= time.process_time() - cpu
            self.wall -= time.perf_counter() - wall


Work = Callable[[Clock], Callable[[], Found]]
"""What is measured; it returns what, when the clock has stopped, tells what was found."""


def reset_peak_memory() -> float:
    """Begins to measure the peak anew, where the system can; returns what is used now, in MB."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS") if _STATUS.exists() else peak_memory()


def peak_memory() -> float:
    """The most memory that this process has had, in MB.

    From Linux's own count where there is one: `ru_maxrss` there is never less than what the
    parent had.
    """
    if _STATUS.exists():
        return _status("VmHWM")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / _MB


def _status(name: str) -> float:
    [line] = [line for line in _STATUS.read_text().splitlines() if line.startswith(name + ":")]
    return int(line.split()[1]) * 1024 / _MB
