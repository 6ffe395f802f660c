"""dagster_s3inc with many requests at once, if this version can."""

from __future__ import annotations

import inspect

from benchmarks.measuring import Task, Work
from benchmarks.ways import ours
from dagster_s3inc.s3.scanning import scan_location

__all__ = ["lanes"]

if "lanes" not in inspect.signature(scan_location).parameters:
    raise ImportError("this version of dagster_s3inc lists in one lane")


def lanes(task: Task) -> Work:
    """The steady state; the lanes are the task's."""
    return ours.steady(task)
