"""What a scan gives: batches, the checkpoint that follows, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import Position, S3Object
from dagster_s3inc.core.sketch import Estimate

__all__ = ["ScanResult", "ScanStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatistics:
    """What a scan saw, in numbers.

    Attributes:
        objects_listed: Entries of the listing.
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
    revealed: int
    gone: int
    overflow: Estimate | None
    selection_changed: bool
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
