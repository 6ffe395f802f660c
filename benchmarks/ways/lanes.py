"""dagster_s3inc with many requests at once."""

from __future__ import annotations

from benchmarks.measuring import Task, Work
from benchmarks.ways import ours

__all__ = ["lanes", "lanes_first"]


def lanes(task: Task) -> Work:
    """The steady state of a sensor that ticks: its last listing showed where the pages are."""
    return ours.steady(task)


def lanes_first(task: Task) -> Work:
    """The first scan of a process, which finds out for itself where to split."""
    return ours.steady(task, has_index=False)
