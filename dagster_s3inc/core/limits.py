"""What one scan may emit, and how much a checkpoint may remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from dagster_s3inc.core.batching import BatchPolicy, RequestSize
from dagster_s3inc.core.checkpoint import CURSOR_RECENT_LIMIT
from dagster_s3inc.core.iblt import cells_for
from dagster_s3inc.core.validation import require_at_least
from dagster_s3inc.errors import ConfigurationError

__all__ = ["LATE_FILE_CAPACITY", "RequestSize", "ScanLimits"]

LATE_FILE_CAPACITY: Final = 400
"""A digest for so many changes takes 8.4 KB, or 11.2 KB of base64 in a cursor of 32 KB."""

# Older than S3, so that more could only be a mistake (and a time before the first year).
_LONGEST_LOOKBACK: Final = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """What one scan may emit, and how much the checkpoint may remember.

    Attributes:
        policy: How objects are cut into batches.
        max_batches: The most batches that one scan emits; with 0 it only counts.
        request_size: How many bytes the run requests of one scan may take. None means no bound.
        lookback: How far the watermark stays behind the server's clock.
        recent_limit: The most fingerprints that the checkpoint keeps one by one.
        late_file_capacity: How many changes at or below the watermark, from one scan to the
            next, the digest tells apart.
    """

    policy: BatchPolicy = field(default_factory=BatchPolicy)
    max_batches: int = 20
    request_size: RequestSize | None = None
    lookback: timedelta = timedelta(hours=1)
    recent_limit: int = CURSOR_RECENT_LIMIT
    late_file_capacity: int = LATE_FILE_CAPACITY

    def __post_init__(self) -> None:
        require_at_least("max_batches", self.max_batches, 0, unit="batches")
        require_at_least("recent_limit", self.recent_limit, 2, unit="fingerprints")
        require_at_least("late_file_capacity", self.late_file_capacity, 1, unit="files")
        cells_for(self.late_file_capacity)
        least, most = timedelta(0), _LONGEST_LOOKBACK
        if not isinstance(self.lookback, timedelta) or not least <= self.lookback <= most:
            raise ConfigurationError(
                f"lookback must be a timedelta of zero or more, and at most {most.days} days, not "
                f"{self.lookback!r}"
            )

    @property
    def cells(self) -> int:
        """How many cells the digest has."""
        return cells_for(self.late_file_capacity)

    @property
    def late_limit(self) -> int:
        """The most fingerprints of late files that the checkpoint keeps one by one."""
        return max(1, self.recent_limit // 2)
