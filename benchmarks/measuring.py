"""How one thing is measured, and the values that go between the program and its children."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "Clock",
    "Endpoints",
    "Found",
    "Measurement",
    "Work",
    "memory",
    "peak_memory",
    "reset_peak",
]

_MB: Final = 1_000_000
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way found. None where it does not say."""

    listed: int | None = None  # how many objects it saw
    digest: str | None = None  # of their keys
    new: int | None = None  # how many of them it found to be new
    new_digest: str | None = None  # of their keys
    parsed_pages: int | None = None  # how many pages went through botocore's parser


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """One row, measured once. Seconds are without imports and set-up; memory is in MB."""

    found: Found
    cpu: float  # of all threads, user and system
    wall: float
    peak: float  # the most memory that the process had meanwhile
    base: float  # what it had before its first tick, imports and client included
    requests: int  # LIST requests, counted by the server


class Clock:
    """Counts CPU of all threads and time, both in seconds, while it runs."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.wall = 0.0
        self.base = 0.0  # the memory before the first tick

    def ready(self) -> None:
        """Marks the moment before the first tick."""
        self.base = memory()

    @contextlib.contextmanager
    def running(self, sign: int = 1) -> Iterator[None]:
        """Counts the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.cpu += sign * (time.process_time() - cpu)
            self.wall += sign * (time.perf_counter() - wall)

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Leaves a block out of a count that is running: it is the benchmark's own work."""
        return self.running(-1)


Endpoints = Mapping[str, str]
"""The server's, by the names of the moments."""

Work = Callable[[Clock], Callable[[], Found]]
"""What is measured; it returns what says, once the clock has stopped, what was found."""


def reset_peak() -> None:
    """Begins to measure the peak anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def memory() -> float:
    """What this process uses now, in MB; 0 where Linux does not say it."""
    return _status("VmRSS")


def peak_memory() -> float:
    """The most memory that this process has had since `reset_peak`, in MB.

    Not by `ru_maxrss`, which is never less than what the parent had.
    """
    return _status("VmHWM")


def _status(name: str) -> float:
    lines = _STATUS.read_text().splitlines() if _STATUS.exists() else []
    return sum(int(line.split()[1]) * 1024 / _MB for line in lines if line.startswith(name + ":"))
