"""What a scan saw and did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from dagster_s3inc.core.checkpoint import PartialScan
from dagster_s3inc.core.late_files import Undecided
from dagster_s3inc.core.objects import Position
from dagster_s3inc.core.reprocess import Reprocess

__all__ = ["ScanStatistics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanStatistics:
    """What a scan saw and did, in numbers.

    Attributes:
        objects_listed: Entries of the listing; 0 if the scan needed no listing.
        bytes_listed: The sum of their sizes.
        newest: The greatest position in the listing; None if it was empty.
        left_out: Objects above the watermark that do not match.
        files: Objects emitted.
        bytes: The sum of their sizes.
        files_late: Those of them that lay at or below the watermark.
        files_waiting: Objects that are new and were not emitted.
        bytes_waiting: The sum of their sizes.
        oldest_waiting: The LastModified of the oldest of these.
        lookback: How far the watermark is behind the server's clock: the lookback asked for, or
            less where more was emitted than `recent` can hold.
        found_late: Late files that this scan found and the next one emits.
        gone: Objects that were emitted and are not listed any more: deleted or overwritten.
        unpartitioned: Objects that match and are in no group.
        unpartitioned_keys: The keys of some of them.
        selection_changed: Whether the filter or the prefix is another than at the last scan.
        decided_by: How it was found what had been emitted at or below the watermark: by the
            index, the digest, the ledger, or because what is listed counts as emitted.
        returned: About how many versions had gone, came back and count as emitted.
        undecided: What is not known of the files at or below the watermark.
        partial_scan: Where the listing goes on in the next tick, if it was cut off. All other
            numbers are then of the part that was scanned.
        reprocess: What was to be emitted again, and how far that had come; all other numbers are
            then of that. None if the scan was for what is new.
    """

    objects_listed: int = 0
    bytes_listed: int = 0
    newest: Position | None = None
    left_out: int = 0
    files: int = 0
    bytes: int = 0
    files_late: int = 0
    files_waiting: int = 0
    bytes_waiting: int = 0
    oldest_waiting: datetime | None = None
    lookback: timedelta
    found_late: int = 0
    gone: int = 0
    unpartitioned: int = 0
    unpartitioned_keys: tuple[str, ...] = ()
    selection_changed: bool = False
    decided_by: Literal["index", "digest", "ledger", "adopted"] | None = None
    returned: int = 0
    undecided: Undecided | None = None
    partial_scan: PartialScan | None = None
    reprocess: Reprocess | None = None
