"""What would be emitted, in numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from itertools import islice

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.objects import S3Object

__all__ = ["Forecast", "forecast"]

_CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What would be emitted.

    Attributes:
        files: How many objects.
        bytes: The sum of their sizes.
        batches: In how many batches at least; ticks that cut them make a few more.
        oldest: The least LastModified; None if there is no object.
        newest: The greatest.
        first: The first of them in position order.
    """

    files: int
    bytes: int
    batches: int
    oldest: datetime | None
    newest: datetime | None
    first: tuple[S3Object, ...]


def forecast(
    objects: Iterable[S3Object],
    policy: BatchPolicy,
    *,
    group_of: Callable[[str], str | None] | None = None,
    shown: int,
) -> Forecast:
    """Counts objects, and keeps no more than the first of them.

    Args:
        objects: In any order.
        policy: How they are cut into batches.
        group_of: Keys for which it differs are in different batches.
        shown: How many to keep.
    """
    files: dict[str | None, int] = defaultdict(int)
    weights: dict[str | None, int] = defaultdict(int)
    oldest: datetime | None = None
    newest: datetime | None = None
    total = 0
    first: list[S3Object] = []
    rest = iter(objects)
    while chunk := list(islice(rest, _CHUNK)):
        first = nsmallest(shown, [*first, *chunk])
        times = [each.last_modified for each in chunk]
        oldest = min([*times, *([oldest] if oldest else [])])
        newest = max([*times, *([newest] if newest else [])])
        for each in chunk:
            group = group_of(each.key) if group_of else None
            files[group] += 1
            total += each.size
            # A larger object is a batch of its own.
            weights[group] += min(each.size, policy.max_bytes or 0)
    batches = 0
    for group, count in files.items():
        by_bytes = -(-weights[group] // policy.max_bytes) if policy.max_bytes else 1
        batches += max(-(-count // policy.max_files), by_bytes)
    return Forecast(
        files=sum(files.values()),
        bytes=total,
        batches=batches,
        oldest=oldest,
        newest=newest,
        first=tuple(first),
    )
