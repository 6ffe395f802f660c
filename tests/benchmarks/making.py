"""Measurements that nobody made."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Found, Measurement

DIGEST = "00000000000000aa"
NEW_DIGEST = "00000000000000bb"

EXPECTED = {"listed": 2500, "digest": DIGEST, "new": 40, "new_digest": NEW_DIGEST}
FOUND = Found(listed=2500, digest=DIGEST, new=40, new_digest=NEW_DIGEST)


def measurement(*, found: Found = FOUND, **other: Any) -> Measurement:
    """A measurement that is right, but for what is given."""
    values = {
        "cpu": 1.0,
        "wall": 2.0,
        "peak": 50.0,
        "base": 40.0,
        "requests": 3,
        **other,
    }
    return Measurement(found=found, **values)
