"""What a scan gives: batches, the checkpoint that follows, and numbers."""

from __future__ import annotations

from dataclasses import dataclass

from dagster_s3inc.core.backlog import Backlog
from dagster_s3inc.core.batching import Batch
from dagster_s3inc.core.checkpoint import Checkpoint
from dagster_s3inc.core.objects import S3Object
from dagster_s3inc.core.statistics import ScanStatistics

__all__ = ["ScanResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """What is to be handed over, and the checkpoint to be kept once it has been.

    Attributes:
        batches: In the order of their oldest objects, at most `max_batches`.
        checkpoint: Follows the one that the scan was given. As long as it is not stored, the
            next scan finds the same objects again.
        statistics: What the scan saw.
        backlog: What is new and waits, to be handed over without another look; None where there
            is nothing, or where only a look can tell.
    """

    batches: tuple[Batch, ...]
    checkpoint: Checkpoint
    statistics: ScanStatistics
    backlog: Backlog | None = None

    @property
    def objects(self) -> tuple[S3Object, ...]:
        """All objects of all batches, batch after batch."""
        return tuple(member for batch in self.batches for member in batch.objects)
