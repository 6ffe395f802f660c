"""Measurements that nobody made."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Found, Measurement, Task

DIGEST = "00000000000000aa"
NEW_DIGEST = "00000000000000bb"

EXPECTED = {"listed": 2500, "digest": DIGEST, "new": 40, "new_digest": NEW_DIGEST}


def measurement(way: str, *, found: Found | None = None, **other: Any) -> Measurement:
    """A measurement that is right, but for what is given."""
    if found is None:
        found = Found(listed=2500, digest=DIGEST, fast_pages=3)
    values = {
        "cpu": 1.0,
        "wall": 2.0,
        "peak": 50.0,
        "base": 40.0,
        "requests": 3,
        "server_cpu": 0.1,
        **other,
    }
    task = Task(way=way, endpoint="", bucket="bucket", prefix="", since="")
    return Measurement(task=task, found=found, **values)
