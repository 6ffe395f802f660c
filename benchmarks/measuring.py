"""How one thing is measured, and the values that go between the program and its children."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Clock", "Endpoints", "Found", "Measurement", "Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a way found. None where it does not say."""

    listed: int | None = None  # how many objects it saw
    digest: str | None = None  # of their keys
    new: int | None = None  # how many of them it found to be new
    new_digest: str | None = None  # of their keys


@dataclass(frozen=True, slots=True)
class Measurement:
    """One row, measured once. Seconds are without imports and set-up; memory is in MB."""

    found: Found
    cpu: float  # of all threads, user and system
    wall: float
    peak: float  # the most memory that the process had meanwhile
    base: float  # what it had before its first tick, imports and client included
    requests: int  # LIST requests, counted by the server


class Clock:
    """Counts seconds, and those of CPU of all threads; notes this process's memory, in MB."""

    def __init__(self) -> None:
        self.cpu = self.wall = self.base = self.peak = 0.0

    def ready(self) -> None:
        """Notes the memory before the first tick."""
        self.base = _memory("VmRSS")

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Counts the block, and notes the most memory that the process has in it."""
        # Not by `ru_maxrss`, which is never less than what the parent had.
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self._add(-1)
        yield
        self._add(1)
        self.peak = _memory("VmHWM")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves a block out of a count that is running: it is the benchmark's own work."""
        self._add(1)
        yield
        self._add(-1)

    def _add(self, sign: int) -> None:
        self.wall += sign * time.perf_counter()
        self.cpu += sign * time.process_time()


Endpoints = Mapping[str, str]
"""The server's, by the names of the moments."""

Work = Callable[[Clock], Callable[[], Found]]
"""What is measured; it returns what says, once the clock has stopped, what was found."""


def _memory(name: str) -> float:
    """A figure of the process's status; 0 where Linux does not say it."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name + ":"))
