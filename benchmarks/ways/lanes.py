"""dagster_s3inc with many requests at once, if this version can."""

from __future__ import annotations

from benchmarks.measuring import Task, Work
from benchmarks.ways import ours

__all__ = ["lanes"]

if not ours.HAS_LANES:
    raise ImportError("this version of dagster_s3inc lists in one lane")


def lanes(task: Task) -> Work:
    """The steady state; the lanes are the task's."""
    return ours.steady(task)
