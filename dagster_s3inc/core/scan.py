"""One look at a listing: what is new in it, in order, and the checkpoint that follows.

Why there is a floor *and* a set. S3 promises that a listing shows every object, but not that
objects become visible in the order of their LastModified: a multipart upload carries the time at
which it began, a replica the time of its source, and many objects share one second. A watermark
alone therefore loses files. So what was handed over lately is remembered one by one (`recent`),
and only what is older than `lookback` is summed up in one position (`floor`), below which nothing
is looked at again.

How the floor may rise:

1. never past an object that is new and was not handed over in this scan, and never to its place;
2. only to the position of an object that was handed over: the claim "all at or below it is done"
   needs no other evidence;
3. by itself only to positions older than `now - lookback`, where `now` is the server's clock;
4. further only if more than `recent_limit` identities would have to be remembered. Then the
   promise is weaker than asked for, and the statistics say by how much.

Rule 4 always suffices: what is handed over in a scan is the oldest of what is new, so the floor
may rise past all of it, and what then remains above the floor was in the set before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple

from dagster_s3inc.core.batching import Batch, BatchPolicy
from dagster_s3inc.core.checkpoint import RECENT_LIMIT, Checkpoint
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.validation import require_at_least
from dagster_s3inc.errors import ConfigurationError

__all__ = ["ScanLimits", "ScanResult", "ScanStatistics", "scan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """What one scan may hand over, and how far back it keeps looking.

    Attributes:
        policy: How objects are cut into batches.
        max_batches: The most batches that one scan hands over.
        lookback: How long an object may take to become visible after its LastModified.
        recent_limit: The most identities that the checkpoint remembers above its floor.
    """

    policy: BatchPolicy = field(default_factory=BatchPolicy)
    max_batches: int = 20
    lookback: timedelta = timedelta(hours=1)
    recent_limit: int = RECENT_LIMIT

    def __post_init__(self) -> None:
        require_at_least("max_batches", self.max_batches, 1, unit="batches")
        require_at_least("recent_limit", self.recent_limit, 1, unit="identities")
        if not isinstance(self.lookback, timedelta) or self.lookback < timedelta(0):
            raise ConfigurationError(
                f"lookback must be a timedelta of zero or more, not {self.lookback!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatistics:
    """What a scan saw, in numbers.

    Attributes:
        objects_listed: Entries of the listing.
        bytes_listed: The sum of their sizes.
        newest: The greatest position in the listing; None if it was empty.
        left_out: Objects above the floor that the filter does not let through.
        files: Objects handed over.
        bytes: The sum of their sizes.
        files_waiting: Objects that are new, but beyond what this scan may hand over.
        bytes_waiting: The sum of their sizes.
        oldest_waiting: The LastModified of the oldest of these.
        lookback: How far back from the server's time objects that appear late are still found:
            the lookback asked for, or less where more was handed over than can be remembered.
    """

    objects_listed: int
    bytes_listed: int
    newest: Position | None
    left_out: int
    files: int
    bytes: int
    files_waiting: int
    bytes_waiting: int
    oldest_waiting: datetime | None
    lookback: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What is to be handed over, and the checkpoint to be kept once it has been.

    Attributes:
        batches: In position order, at most `max_batches`.
        checkpoint: Follows the one that the scan was given. As long as it is not stored, the
            next scan finds the same objects again.
        statistics: What the scan saw.
    """

    batches: tuple[Batch, ...]
    checkpoint: Checkpoint
    statistics: ScanStatistics

    @property
    def objects(self) -> tuple[S3Object, ...]:
        """All objects of all batches, in position order."""
        return tuple(member for batch in self.batches for member in batch.objects)


class _Done(NamedTuple):
    """An object above the floor that has been handed over and is still listed."""

    position: Position
    identity: int


def scan(
    checkpoint: Checkpoint,
    pages: Iterable[Iterable[S3Object]],
    *,
    now: datetime,
    matches: Callable[[S3Object], bool] = lambda _: True,
    limits: ScanLimits | None = None,
    adopt: bool = False,
) -> ScanResult:
    """Finds what a whole listing holds that the checkpoint does not know. A pure function.

    Args:
        checkpoint: What has been handed over so far.
        pages: The whole listing, in any chunks and any order.
        now: The server's time when it began to answer, aware.
        matches: Tells which objects count.
        limits: What may be handed over; by default `ScanLimits()`.
        adopt: Hand nothing over, and count everything that is listed as handed over: how a
            scan begins for someone who wants only files from now on. Objects that appear later
            are new even if their LastModified lies up to the lookback in the past.

    Raises:
        Exception: Whatever `pages` raises. There is then no result, so nothing has changed.
    """
    limits = limits or ScanLimits()
    floor, known = checkpoint.floor, checkpoint.recent
    new: list[S3Object] = []
    done: list[_Done] = []
    listed = listed_bytes = left_out = 0
    newest: Position | None = None
    for page in pages:
        for entry in page:
            listed += 1
            listed_bytes += entry.size
            position = entry.position
            if newest is None or position > newest:
                newest = position
            if floor is not None and position <= floor:
                continue
            identity = entry.identity
            if identity in known:
                done.append(_Done(position, identity))
            elif matches(entry):
                new.append(entry)
            else:
                left_out += 1
    new.sort()

    batches: tuple[Batch, ...] = ()
    handed, waiting = new, new[:0]
    if adopt:
        floor = Position(now - limits.lookback, "")
    else:
        batches = tuple(islice(limits.policy.split(new), limits.max_batches))
        count = sum(len(batch) for batch in batches)
        handed, waiting = new[:count], new[count:]
    done.extend(_Done(entry.position, entry.identity) for entry in handed)
    raised = _raise_floor(
        floor,
        done,
        bound=waiting[0].position if waiting else None,
        horizon=now - limits.lookback,
        recent_limit=limits.recent_limit,
    )
    recent = (each.identity for each in done if raised is None or each.position > raised)
    return ScanResult(
        batches=batches,
        checkpoint=checkpoint.advanced(raised, recent),
        statistics=ScanStatistics(
            objects_listed=listed,
            bytes_listed=listed_bytes,
            newest=newest,
            left_out=left_out,
            files=sum(len(batch) for batch in batches),
            bytes=sum(batch.bytes for batch in batches),
            files_waiting=len(waiting),
            bytes_waiting=sum(entry.size for entry in waiting),
            oldest_waiting=waiting[0].last_modified if waiting else None,
            lookback=_kept_lookback(raised, now, limits.lookback),
        ),
    )


def _raise_floor(
    floor: Position | None,
    done: list[_Done],
    *,
    bound: Position | None,
    horizon: datetime,
    recent_limit: int,
) -> Position | None:
    """The new floor, by the four rules at the head of this module."""
    done.sort()
    surplus = len(done) - recent_limit
    for index, (position, _) in enumerate(done):
        if bound is not None and position >= bound:
            break
        if position.last_modified >= horizon and index >= surplus:
            break
        if floor is None or position > floor:
            floor = position
    return floor


def _kept_lookback(floor: Position | None, now: datetime, asked: timedelta) -> timedelta:
    if floor is None:
        return asked
    return max(timedelta(0), min(asked, now - floor.last_modified))
