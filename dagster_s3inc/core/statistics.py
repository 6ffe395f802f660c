"""What a scan saw, in numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Pass
from dagster_s3inc.core.look import Seen
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.redo import Redo
from dagster_s3inc.core.sketch import Estimate

__all__ = ["ScanStatistics", "summarize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatistics:
    """What a scan saw, in numbers.

    Attributes:
        objects_listed: Entries of the listing; 0 if the scan needed no look.
        bytes_listed: The sum of their sizes.
        newest: The greatest position in the listing; None if it was empty.
        left_out: Objects above the floor that do not match.
        files: Objects handed over.
        bytes: The sum of their sizes.
        files_late: Those of them that had appeared at or below the floor.
        files_waiting: Objects that are new, but beyond what this scan may hand over.
        bytes_waiting: The sum of their sizes.
        oldest_waiting: The LastModified of the oldest of these.
        revealed: Objects that this scan found at or below the floor, never handed over; the next
            scan hands over those that match.
        gone: Objects that were handed over and are not listed any more: deleted or overwritten.
        overflow: None, or about how many objects appeared and went at or below the floor where
            there were too many to tell apart. Those that appeared are given up.
        selection_changed: The filter or the prefix is another than at the last scan. What only
            the new one matches at or below the floor counts as handed over.
        unfinished: Where the listing goes on in the next tick, if it has not been looked at to
            its end. All other numbers are then of the part that was looked at.
        redo: What was to be handed over again, and how far this had come; all other numbers are
            then of that. None if the scan looked for what is new.
        lookback: For how long objects are in fact remembered one by one: the lookback asked for,
            or less where more was handed over than can be.
    """

    objects_listed: int
    bytes_listed: int
    newest: Position | None
    left_out: int
    files: int
    bytes: int
    files_late: int
    files_waiting: int
    bytes_waiting: int
    oldest_waiting: datetime | None
    lookback: timedelta
    revealed: int = 0
    gone: int = 0
    overflow: Estimate | None = None
    selection_changed: bool = False
    unfinished: Pass | None = None
    redo: Redo | None = None


def summarize(
    seen: Seen,
    *,
    batches: Sequence[Batch],
    late: Collection[int],
    waiting: Sequence[S3Object],
    lookback: timedelta,
) -> ScanStatistics:
    """Counts what can be counted; the rest is as if nothing had been learned of the past.

    Args:
        seen: What was looked at.
        batches: What is handed over.
        late: The identities of which those that are handed over are late.
        waiting: What is new and is not handed over, in position order.
        lookback: As in `ScanStatistics`.
    """
    handed_late = 0
    if late:
        members = (each for batch in batches for each in batch.objects)
        handed_late = sum(each.identity in late for each in members)
    return ScanStatistics(
        objects_listed=sum(page.listed for page in seen.pages),
        bytes_listed=sum(page.listed_bytes for page in seen.pages),
        newest=seen.newest,
        left_out=sum(page.left_out for page in seen.pages),
        files=sum(len(batch) for batch in batches),
        bytes=sum(batch.bytes for batch in batches),
        files_late=handed_late,
        files_waiting=len(waiting),
        bytes_waiting=sum(each.size for each in waiting),
        oldest_waiting=waiting[0].last_modified if waiting else None,
        lookback=lookback,
    )
