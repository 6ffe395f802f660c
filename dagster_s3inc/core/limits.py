"""What one scan may hand over, and how much a checkpoint may remember."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from dagster_s3inc.core.batching import BatchPolicy
from dagster_s3inc.core.checkpoint import RECENT_LIMIT
from dagster_s3inc.core.sketch import CELLS, require_cells
from dagster_s3inc.core.validation import require_at_least
from dagster_s3inc.errors import ConfigurationError

__all__ = ["ScanLimits"]

# Older than S3, so that more could only be a mistake (and a time before the first year).
_LONGEST_LOOKBACK: Final = timedelta(days=36_500)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLimits:
    """What one scan may hand over, and how much the checkpoint may remember.

    Attributes:
        policy: How objects are cut into batches.
        max_batches: The most batches that one scan hands over; with 0 it only looks.
        max_request_bytes: About the most bytes that the run requests of one scan may take in
            JSON. None means no bound.
        lookback: For how long objects are remembered one by one.
        recent_limit: The most identities that the checkpoint remembers one by one.
        sketch_cells: The size of the sketch, 14 bytes each. Two thirds as many changes at or
            below the floor, from one scan to the next, can be told apart.
    """

    policy: BatchPolicy = field(default_factory=BatchPolicy)
    max_batches: int = 20
    max_request_bytes: int | None = None
    lookback: timedelta = timedelta(hours=1)
    recent_limit: int = RECENT_LIMIT
    sketch_cells: int = CELLS

    def __post_init__(self) -> None:
        require_at_least("max_batches", self.max_batches, 0, unit="batches")
        if self.max_request_bytes is not None:
            require_at_least("max_request_bytes", self.max_request_bytes, 1, unit="bytes")
        require_at_least("recent_limit", self.recent_limit, 1, unit="identities")
        require_cells("sketch_cells", self.sketch_cells)
        least, most = timedelta(0), _LONGEST_LOOKBACK
        if not isinstance(self.lookback, timedelta) or not least <= self.lookback <= most:
            raise ConfigurationError(
                f"lookback must be a timedelta of zero or more, and at most {most.days} days, not "
                f"{self.lookback!r}"
            )
